/* What a call does, read once from its packed request: operation by operation, with the keys that it names.
 *
 * Limits, rights, audit records and metrics use these facts, and the keeper unpacks the same bytes: rpc has
 * checked their form (rpc/form.h), so that there is one reading of them. Everything points into the request,
 * which must outlive the facts. Track data passes through the front, and is not unpacked into memory for
 * this. Facts of one call: one thread at a time. */
#ifndef POSWARD_HSM_SERVICE_GATE_FACTS_H
#define POSWARD_HSM_SERVICE_GATE_FACTS_H

#include "base/err.h"
#include "rpc/wire.h"

#include <stdbool.h>

/* "DiversifyCardKey"; "" for what is no method. */
const char *facts_method(uint16_t method);
bool facts_is_data_plane(uint16_t method);
bool facts_is_batch(uint16_t method);

/* What an operation uses keys for; a transaction may be several. */
enum facts_class { FACTS_KEYS = 1, FACTS_PIN = 2, FACTS_MAC = 4, FACTS_DATA = 8 };

enum facts_kind {
    FACTS_DIVERSIFY,
    FACTS_RESEAL,
    FACTS_WORKING_KEYS,
    FACTS_TRANSACTION,
    FACTS_GENERATE_MAC,
    FACTS_VERIFY_MAC,
    FACTS_TRANSLATE_PIN,
    FACTS_ENCRYPT,
    FACTS_DECRYPT,
    FACTS_KIND_COUNT
};
const char *facts_kind_name(enum facts_kind kind); /* "DiversifyCardKey" */

/* What a key is named for. */
enum facts_part { FACTS_PART_MAC, FACTS_PART_PIN_SOURCE, FACTS_PART_PIN_DESTINATION, FACTS_PART_DATA };

/* A key of the storage or a zone: the other one has no data. */
struct facts_key {
    enum facts_part part;
    struct wire_bytes blob;
    struct wire_bytes zone;
    uint64_t zone_version; /* 0: the newest */
};
#define FACTS_KEYS_MAX 4

/* One operation of a call: the call itself, or an item of its batch. */
struct facts_operation {
    enum facts_kind kind;
    unsigned classes; /* sum of enum facts_class */
    bool in_batch;
    uint16_t item; /* of the batch; 0 for a call of its own */
    struct wire_bytes request;
    struct wire_bytes psam_number; /* the card that it says it is for; empty: it says none */
    struct wire_bytes pan;         /* TranslatePin's; that of a transaction stands in its message */
    struct wire_bytes mac_data;    /* GenerateMac's */
    struct facts_key keys[FACTS_KEYS_MAX];
    size_t key_count;
};

struct facts {
    uint16_t method;
    bool batch;
    size_t items; /* of the batch, also those that name no operation; 1 for a call of its own */
    struct facts_operation *operations; /* in order; none for what uses no key */
    size_t count;
    struct facts_operation one; /* where there is no batch */
};

/* Into caller's storage, which must not move. ERR_LIMIT no memory. */
enum err_code facts_read(uint16_t method, struct wire_bytes request, struct facts *out_facts,
                         struct err *e) MUST_CHECK;
/* Accepts zeroed facts. */
void facts_drop(struct facts *facts);
/* The PSAM number in the clear head of the first blob that is no destination; "" where there is none. A
 * keeper that used the blob has checked it. */
#define FACTS_PSAM_BYTES 21
void facts_terminal(const struct facts_operation *operation, char out_number[FACTS_PSAM_BYTES]);

/* ---- What came of them ---- */

struct facts_outcome {
    uint64_t status;            /* of an item: its gRPC code; 0 for a call of its own */
    struct wire_bytes response; /* empty where it failed */
};
/* Outcomes stand in the order of the operations: ask for each in turn. */
struct facts_outcomes {
    struct wire_bytes response;
    bool batch;
    size_t next; /* item */
};
/* `response` is empty for a call that failed. */
struct facts_outcomes facts_outcomes(const struct facts *facts, struct wire_bytes response);
struct facts_outcome facts_next_outcome(struct facts_outcomes *outcomes,
                                        const struct facts_operation *operation);

#endif
