/* Inside front/ only: what an audit record says about a call, read from its packed messages where they lie:
 * track data passes through the front, and is not unpacked into memory for this. */
#ifndef POSWARD_HSM_SERVICE_FRONT_FACTS_H
#define POSWARD_HSM_SERVICE_FRONT_FACTS_H

#include "hsm-service/audit/record.h"
#include "rpc/wire.h"

#include <stdbool.h>

/* "DiversifyCardKey"; "" for what is no method. */
const char *facts_method(uint16_t method);
bool facts_is_data_plane(uint16_t method);
/* The call derives, makes or moves keys: DiversifyCardKey, GenerateWorkingKeys, ResealBlobs, a batch with one
 * of the first two. */
bool facts_makes_keys(uint16_t method, struct wire_bytes request);

/* What an operation uses keys for; a transaction may be several. */
enum facts_class { FACTS_KEYS = 1, FACTS_PIN = 2, FACTS_MAC = 4, FACTS_DATA = 8 };
#define FACTS_OPERATIONS 9
const char *facts_operation_name(size_t index); /* below FACTS_OPERATIONS */

/* One operation of a call: the call itself, or an item of its batch. */
struct facts_operation {
    size_t index;
    unsigned classes; /* sum of enum facts_class */
    bool in_batch;
    uint64_t status; /* of an item: its gRPC code */
    struct wire_bytes request, response;
};
/* The operations of a call, in order; none for what is not on the data plane, or Echo. `response` is empty
 * for a call that failed. */
struct facts_walk {
    uint16_t method;
    struct wire_bytes request, response;
    bool batch, done;
};
struct facts_walk facts_walk(uint16_t method, struct wire_bytes request, struct wire_bytes response);
bool facts_next(struct facts_walk *walk, struct facts_operation *out_operation);

/* kind, what, key, grade and note of its record; the rest is the caller's. */
struct audit_record facts_record(const struct facts_operation *operation);

#endif
