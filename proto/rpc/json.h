/* protobuf-c messages <-> JSON, by descriptor, in the proto3 JSON mapping: lowerCamelCase names (snake_case
 * accepted), 64-bit numbers as strings, enums by name, bytes in base64. No generated code, so a new message
 * just works. Reading is strict: an unknown field, a field under both names, two members of one oneof are
 * refused; null stands for the default. Any thread. */
#ifndef POSWARD_RPC_JSON_H
#define POSWARD_RPC_JSON_H

#include "base/err.h"

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#define RPC_JSON_MAX_DEPTH  32    /* messages within each other */
#define RPC_JSON_MAX_ITEMS  65536 /* of one list; the size of the text is limited by whoever parses it */
#define RPC_JSON_MAX_FIELDS 128   /* of one message type */

/* A new reference. ERR_INPUT: text that is not UTF-8. Fields at their default are left out, but
 * `with_defaults` puts them in. */
enum err_code rpc_json_from_message(const ProtobufCMessage *message, bool with_defaults, json_t **out_json,
                                    struct err *e) MUST_CHECK;
/* Freed with protobuf_c_message_free_unpacked. ERR_INPUT names the path of the field: "items[2].pan: ...". */
enum err_code rpc_json_to_message(const json_t *json, const ProtobufCMessageDescriptor *descriptor,
                                  ProtobufCMessage **out_message, struct err *e) MUST_CHECK;

#endif
