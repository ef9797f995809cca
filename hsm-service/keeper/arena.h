/* Memory of one request: everything that a message unpacks to and that an answer is made of, wiped after the
 * answer.
 *
 * Bounded, so that a small message that unpacks to a large tree is refused. One thread. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_ARENA_H
#define POSWARD_HSM_SERVICE_KEEPER_ARENA_H

#include "base/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#define ARENA_BYTES (8UL << 20)

struct arena {
    unsigned char *bytes; /* of ARENA_BYTES, left out of core dumps */
    size_t used;
    bool exhausted;               /* an allocation was refused since the last reset */
    ProtobufCAllocator allocator; /* for protobuf-c */
};

enum err_code arena_init(struct arena *a, struct err *e) MUST_CHECK;
/* Accepts a zeroed one. */
void arena_drop(struct arena *a);
/* Zeroed and aligned; NULL when the arena is used up. */
void *arena_take(struct arena *a, size_t len);
/* The same as an error: ERR_LIMIT. */
enum err_code arena_copy(struct arena *a, const void *bytes, size_t len, ProtobufCBinaryData *out_copy,
                         struct err *e) MUST_CHECK;
enum err_code arena_text(struct arena *a, const char *text, char **out_copy, struct err *e) MUST_CHECK;
/* Wipe what was used. */
void arena_reset(struct arena *a);

#endif
