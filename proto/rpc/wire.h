/* The one walker of packed protobuf messages: fields are read where they lie, nothing is copied or allocated.
 * Safe for any bytes; borrowed views; any thread. Needs neither gRPC nor protobuf-c (target rpc_wire).
 *
 * It reads what rpc/form.h lets through and nothing else: the shortest varints, field numbers 1 to 2^29-1, no
 * groups. A request that reaches a handler has passed the form check, at every depth: no singular field and
 * no oneof stands twice in it, so wire_find, which takes the first, reads what protobuf-c reads. Source:
 * protobuf.dev/programming-guides/encoding. */
#ifndef POSWARD_RPC_WIRE_H
#define POSWARD_RPC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_NUMBER_MAX ((1U << 29) - 1)

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct wire_bytes {
    const uint8_t *data;
    size_t len;
};
struct wire_field {
    uint64_t number; /* which field; 0: none was found */
    enum wire_type type;
    uint64_t value;          /* of a varint, else 0 */
    struct wire_bytes bytes; /* of the other types; data is NULL for a varint */
};

/* Why a field cannot be read. */
enum wire_fault {
    WIRE_WELL,
    WIRE_CUT,    /* the bytes end before the field does */
    WIRE_LONG,   /* a varint of more bytes than it needs, or beyond 64 bits */
    WIRE_NUMBER, /* field number 0 or over WIRE_NUMBER_MAX */
    WIRE_GROUP,  /* a group, which proto3 does not have, or a wire type that does not exist */
};

/* The next field, and `b` is moved behind it. False at the end (b->len is 0) and at a fault (b is unchanged).
 */
bool wire_take(struct wire_bytes *b, struct wire_field *out_field);
/* One varint, as stands in a row of packed ones. */
bool wire_take_varint(struct wire_bytes *b, uint64_t *out_value);
/* What wire_take, or wire_take_varint, meets in `b`. */
enum wire_fault wire_fault(struct wire_bytes b);
enum wire_fault wire_fault_varint(struct wire_bytes b);

/* The first field of that number; zeroes when there is none. */
struct wire_field wire_find(struct wire_bytes message, uint64_t number);
size_t wire_count(struct wire_bytes message, uint64_t number);

#endif
