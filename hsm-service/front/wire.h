/* Inside front/ only: fields of a packed protobuf message, read where they lie. Source: protobuf encoding. */
#ifndef POSWARD_HSM_SERVICE_FRONT_WIRE_H
#define POSWARD_HSM_SERVICE_FRONT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_bytes {
    const uint8_t *data;
    size_t len;
};
struct wire_field {
    uint64_t number; /* which field */
    uint64_t value;  /* of a varint */
    struct wire_bytes bytes;
};

/* The next field; false at the end and where the bytes make no sense. */
bool wire_take(struct wire_bytes *b, struct wire_field *out_field);
/* The last field of that number, as protobuf has it; zeroes when there is none. */
struct wire_field wire_find(struct wire_bytes message, uint64_t number);
size_t wire_count(struct wire_bytes message, uint64_t number);
/* The field of that number and index of its kind. */
struct wire_field wire_nth(struct wire_bytes message, uint64_t number, size_t index);

#endif
