/* What encoding and decoding of JSON share. Internal to json.c and json_decode.c. */
#ifndef POSWARD_RPC_JSON_INTERNAL_H
#define POSWARD_RPC_JSON_INTERNAL_H

#include "rpc/json.h"

#define JSON_NAME_BYTES 128 /* a field's name */

/* Where in a message we are; the chain lives on the stack of the recursion. */
struct json_path {
    const struct json_path *parent;
    const char *name;
    long index; /* -1: not an item of a list */
    unsigned depth;
};

/* err_set ERR_INPUT with "items[2].pan: " in front. */
enum err_code json_fail(const struct json_path *path, struct err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "terminal_id" -> "terminalId", as protoc does. */
void json_name_of(const char *field_name, char out_name[JSON_NAME_BYTES]);

#endif
