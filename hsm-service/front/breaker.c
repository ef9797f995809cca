#include "hsm-service/front/breaker.h"

#include <stdio.h>

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {"closed", "half-open", "open"};
    return state < BREAKER_STATE_COUNT ? names[state] : "unknown";
}

static bool go(struct breaker *b, enum breaker_state state)
{
    if (b->state == state)
        return false;
    b->state = state;
    b->changes[state]++;
    return true;
}

static bool open_it(struct breaker *b, const char *why, int64_t now_ms)
{
    int64_t pause_ms = BREAKER_PAUSE_MS;
    for (unsigned i = 0; i < b->openings && pause_ms < BREAKER_PAUSE_MOST; i++)
        pause_ms *= 2;
    if (why != b->why) /* a probe that failed leaves the reason as it was */
        snprintf(b->why, sizeof b->why, "%s", why);
    b->openings++;
    b->probe_at_ms = now_ms + (pause_ms < BREAKER_PAUSE_MOST ? pause_ms : BREAKER_PAUSE_MOST);
    return go(b, BREAKER_OPEN);
}

static bool close_it(struct breaker *b)
{
    b->failures = 0;
    b->openings = 0;
    return go(b, BREAKER_CLOSED);
}

bool breaker_call_ok(struct breaker *b)
{
    b->failures = 0;
    return b->state != BREAKER_CLOSED && close_it(b); /* a call from before it opened: the token answers */
}

bool breaker_call_failed(struct breaker *b, const char *why, int64_t now_ms)
{
    if (b->state != BREAKER_CLOSED || ++b->failures < BREAKER_FAILURES)
        return false;
    return open_it(b, why, now_ms);
}

bool breaker_no_keeper(struct breaker *b, const char *why, int64_t now_ms)
{
    if (b->state == BREAKER_OPEN) {
        snprintf(b->why, sizeof b->why, "%s", why);
        return false;
    }
    return open_it(b, why, now_ms);
}

bool breaker_keeper_ready(struct breaker *b)
{
    return close_it(b);
}

bool breaker_wants_probe(struct breaker *b, int64_t now_ms)
{
    return b->state == BREAKER_OPEN && now_ms >= b->probe_at_ms && go(b, BREAKER_HALF_OPEN);
}

bool breaker_probed(struct breaker *b, bool ok, int64_t now_ms)
{
    if (ok)
        return b->state != BREAKER_CLOSED && close_it(b);
    return b->state == BREAKER_HALF_OPEN && open_it(b, b->why, now_ms);
}
