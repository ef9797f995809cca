/* Inside front/ only: the circuit breaker. While the token is known to be away, callers hear so at once;
 * nothing queues up in front of it, and nothing but probes reaches it.
 *
 *   closed     calls pass
 *   open       calls are refused; after a pause, longer each time, a probe is due
 *   half-open  a probe is under way and decides
 *
 * It opens when no keeper can be started, and when BREAKER_FAILURES calls in a row find the token away. A
 * keeper that becomes ready has tried the token and closes it. Loop thread and front mutex, as for keepers.
 */
#ifndef POSWARD_HSM_SERVICE_FRONT_BREAKER_H
#define POSWARD_HSM_SERVICE_FRONT_BREAKER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES   8
#define BREAKER_PAUSE_MS   250
#define BREAKER_PAUSE_MOST 8000

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_STATE_COUNT };
const char *breaker_state_name(enum breaker_state state); /* "closed", "half-open", "open" */

struct breaker {
    enum breaker_state state;
    unsigned failures; /* in a row */
    unsigned openings; /* in a row */
    int64_t probe_at_ms;
    char why[160];
    uint64_t changes[BREAKER_STATE_COUNT]; /* to each state */
};

/* Each returns true when the state changed. */
bool breaker_call_ok(struct breaker *b);
bool breaker_call_failed(struct breaker *b, const char *why, int64_t now_ms);
/* No keeper is there, and none could be started. */
bool breaker_no_keeper(struct breaker *b, const char *why, int64_t now_ms);
/* A keeper is ready: it logged in, tried the ways and loaded the keys just now. */
bool breaker_keeper_ready(struct breaker *b);
/* Time for a probe: then it is half-open, and breaker_probed must follow. */
bool breaker_wants_probe(struct breaker *b, int64_t now_ms);
bool breaker_probed(struct breaker *b, bool ok, int64_t now_ms);

#endif
