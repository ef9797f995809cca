/* Inside front/ only: what an audit record says about a call, read from its packed messages where they lie:
 * track data passes through the front, and is not unpacked into memory for this. */
#ifndef POSWARD_HSM_SERVICE_FRONT_FACTS_H
#define POSWARD_HSM_SERVICE_FRONT_FACTS_H

#include "hsm-service/audit/record.h"
#include "hsm-service/front/wire.h"

#include <stdbool.h>

/* "DiversifyCardKey"; "" for what is no method. */
const char *facts_method(uint16_t method);
bool facts_is_data_plane(uint16_t method);
/* The call derives, makes or moves keys: DiversifyCardKey, GenerateWorkingKeys, ResealBlobs, a batch with one
 * of the first two. */
bool facts_makes_keys(uint16_t method, struct wire_bytes request);

/* Fill kind, what, key, grade, note and, for an item that failed, result of the records that a call deserves:
 * one, or one for each item of a batch that makes keys. `response` is empty for a call that failed; its
 * result is then the caller's to fill. At most `capacity`; the number of records. */
size_t facts_of_call(uint16_t method, struct wire_bytes request, struct wire_bytes response,
                     struct audit_record *out_records, size_t capacity);

#endif
