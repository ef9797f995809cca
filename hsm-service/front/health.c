#include "hsm-service/front/health.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm-service/front/ask.h"
#include "hsm-service/front/state.h"
#include "run/prometheus.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_EVERY_MS 1000
#define MIB             1048576

/* ---- A breaker's changes are told once ---- */

static void tell_change(struct front *f, const struct front_token *t, bool changed)
{
    if (!changed)
        return;
    const struct breaker *const b = &t->breaker;
    const char *const state = breaker_state_name(b->state);
    const char *const why = b->state == BREAKER_CLOSED ? "the token answers" : b->why;
    char note[240];
    if (f->pool.count > 1)
        snprintf(note, sizeof note, "%s: %s: %s", t->is.name, state, why);
    else
        snprintf(note, sizeof note, "%s: %s", state, why);
    log_event(b->state == BREAKER_OPEN ? LOG_ERROR : LOG_WARN, "circuit breaker", LOG_STR("state", state),
              LOG_STR("why", why), LOG_STR("of", t->is.name));
    front_audit_event(f->audit, AUDIT_SERVICE, "circuit breaker", NULL, note);
}

void front_health_answered(struct front *f, struct front_token *t, const struct ipc_frame *frame)
{
    char why[128];
    const bool failed = frame->kind == IPC_FAILURE; /* as loop.c's found_token_away */
    if (!failed && frame->native != IPC_TOKEN_AWAY) {
        tell_change(f, t, breaker_call_ok(&t->breaker));
    } else if (!failed || frame->error == ERR_UNAVAILABLE) {
        snprintf(why, sizeof why, "%.*s", failed ? (int)(frame->body_len < 127 ? frame->body_len : 127) : 0,
                 (const char *)frame->body);
        tell_change(f, t,
                    breaker_call_failed(&t->breaker, why[0] != '\0' ? why : "the token is away",
                                        clock_monotonic_ms()));
    }
}

void front_health_ready(struct front *f, struct front_token *t)
{
    tell_change(f, t, breaker_keeper_ready(&t->breaker));
}

void front_health_no_keeper(struct front *f, struct front_token *t, const char *why)
{
    tell_change(f, t, breaker_no_keeper(&t->breaker, why, clock_monotonic_ms()));
}

bool front_health_serving(const struct front *f)
{
    return front_pool_serves(&f->pool);
}

/* ---- Probes ---- */

static struct front_keeper *keeper_numbered(struct front *f, uintptr_t number)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        if (f->keepers[i].state != KEEPER_NONE && f->keepers[i].number == number)
            return &f->keepers[i];
    return NULL;
}

static void take_health(struct front_keeper *k, const uint8_t *bytes)
{
    for (int value = 0; value < HEALTH_COUNT; value++) {
        k->health[value] = 0;
        for (int left = value < HEALTH_HITS ? 4 : 8; left > 0; left--)
            k->health[value] = k->health[value] << 8 | *bytes++;
    }
}

/* A keeper whose token does not work after its own ladder is replaced: the last rung. */
static void take_answer(struct front *f, struct front_keeper *k, const struct ipc_frame *frame)
{
    const bool ok = frame->kind == IPC_RESPONSE && frame->body_len == IPC_HEALTH_BYTES;
    k->probing = false;
    if (ok)
        take_health(k, frame->body);
    if (!ok && k->state == KEEPER_READY) {
        log_event(LOG_WARN, "keeper failed its probe", LOG_INT("keeper", k->number), LOG_INT("pid", k->pid));
        k->broken = true;
    }
    struct front_token *const t = &f->pool.tokens[k->token];
    tell_change(f, t, breaker_probed(&t->breaker, ok, clock_monotonic_ms()));
}

static void on_probed(struct front *f, void *context, const struct ipc_frame *frame)
{
    if (frame == NULL)
        return; /* it ended: the tick sees that nobody is being probed */
    pthread_mutex_lock(&f->lock);
    struct front_keeper *const k = keeper_numbered(f, (uintptr_t)context);
    if (k != NULL)
        take_answer(f, k, frame);
    pthread_mutex_unlock(&f->lock);
}

static bool probe(struct front *f, struct front_keeper *k, int64_t now_ms)
{
    const struct front_question question = {.method = IPC_METHOD(IPC_INTERNAL, IPC_PROBE),
                                            .done = on_probed,
                                            .context = (void *)(uintptr_t)k->number};
    if (k->probing)
        return true;
    k->probed_ms = now_ms; /* a full socket is busy, not ill: kill_hung judges that */
    k->probing = front_ask(f, k, &question);
    return k->probing;
}

static void probe_for_breaker(struct front *f, unsigned token, int64_t now_ms)
{
    struct front_token *const t = &f->pool.tokens[token];
    bool asked = false;
    if (breaker_wants_probe(&t->breaker, now_ms)) {
        tell_change(f, t, true);
    } else if (t->breaker.state != BREAKER_HALF_OPEN) {
        return;
    }
    for (size_t i = 0; i < FRONT_KEEPERS && !asked; i++)
        if (f->keepers[i].state == KEEPER_READY && f->keepers[i].token == token && !f->keepers[i].broken)
            asked = probe(f, &f->keepers[i], now_ms);
    if (!asked)
        tell_change(f, t, breaker_probed(&t->breaker, false, now_ms));
}

/* ---- Memory ---- */

/* Resident MiB of a process; 0: not known. */
static uint64_t resident_mib(pid_t pid)
{
    char path[48];
    unsigned long size = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *const file = fopen(path, "re");
    if (file == NULL)
        return 0;
    const int got = fscanf(file, "%lu %lu", &size, &resident);
    fclose(file);
    return got == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) / MIB : 0;
}

static void check_memory(struct front *f, struct front_keeper *k)
{
    k->resident_mib = resident_mib(k->pid);
    if (k->stale || k->resident_mib < (uint64_t)f->config->retire_mib)
        return;
    log_event(LOG_INFO, "keeper has grown", LOG_INT("keeper", k->number), LOG_INT("pid", k->pid),
              LOG_INT("resident_mib", (int64_t)k->resident_mib));
    k->stale = true;
    f->retirements++;
}

void front_health_tick(struct front *f, int64_t now_ms)
{
    const bool weigh = now_ms - f->weighed_ms >= MEMORY_EVERY_MS;
    if (weigh)
        f->weighed_ms = now_ms;
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        struct front_keeper *const k = &f->keepers[i];
        if (k->state != KEEPER_READY)
            continue;
        if (now_ms - k->probed_ms >= f->config->probe_ms && !k->broken)
            (void)probe(f, k, now_ms);
        if (weigh)
            check_memory(f, k);
    }
    for (unsigned i = 0; i < f->pool.count; i++)
        probe_for_breaker(f, i, now_ms);
}

/* ---- Metrics ---- */

void front_health_ended(struct front *f, const struct front_keeper *k)
{
    for (int value = 0; value < HEALTH_COUNT; value++)
        f->ended_health[value] += k->health[value];
}

static const struct {
    enum health_value value;
    bool lasts; /* counts of keepers that ended belong to it */
    struct prometheus_row row;
} families[] = {
    {HEALTH_SESSIONS,
     false,
     {"posward_hsm_sessions", PROMETHEUS_GAUGE, "Sessions of the token that keepers hold.", 0}},
    {HEALTH_IDLE, false, {"posward_hsm_sessions_idle", PROMETHEUS_GAUGE, "Those that no call uses.", 0}},
    {HEALTH_RELOGINS,
     true,
     {"posward_hsm_relogins_total", PROMETHEUS_COUNTER, "Logins after a session or login was lost.", 0}},
    {HEALTH_REINITIALISED,
     true,
     {"posward_hsm_reinitialised_total", PROMETHEUS_COUNTER,
      "PKCS#11 modules initialised again to find the token.", 0}},
    {HEALTH_CACHED,
     false,
     {"posward_hsm_cache_entries", PROMETHEUS_GAUGE, "Opened blobs that keepers keep.", 0}},
    {HEALTH_ROOM, false, {"posward_hsm_cache_room", PROMETHEUS_GAUGE, "Blobs that keepers can keep.", 0}},
    {HEALTH_HITS,
     true,
     {"posward_hsm_cache_hits_total", PROMETHEUS_COUNTER, "Blobs that were open already.", 0}},
    {HEALTH_MISSES,
     true,
     {"posward_hsm_cache_misses_total", PROMETHEUS_COUNTER, "Blobs that had to be opened.", 0}},
};
#define FAMILIES (sizeof families / sizeof families[0])

/* The service's: closed while that of one token is. Changes are those of all. */
static void sum_breakers(const struct front_pool *pool, struct breaker *out_breaker)
{
    struct breaker sum = {.state = BREAKER_OPEN};
    for (size_t i = 0; i < pool->count; i++) {
        const struct breaker *const b = &pool->tokens[i].breaker;
        sum.state = b->state < sum.state ? b->state : sum.state;
        for (int state = 0; state < BREAKER_STATE_COUNT; state++)
            sum.changes[state] += b->changes[state];
    }
    *out_breaker = sum;
}

static void sum_up(struct front *f, struct prometheus_row rows[FAMILIES], uint64_t *out_resident_mib,
                   struct breaker *out_breaker)
{
    *out_resident_mib = 0;
    pthread_mutex_lock(&f->lock);
    sum_breakers(&f->pool, out_breaker);
    for (size_t i = 0; i < FAMILIES; i++) {
        rows[i] = families[i].row;
        rows[i].value = families[i].lasts ? f->ended_health[families[i].value] : 0;
        for (size_t n = 0; n < FRONT_KEEPERS; n++)
            if (f->keepers[n].state != KEEPER_NONE)
                rows[i].value += f->keepers[n].health[families[i].value];
    }
    for (size_t n = 0; n < FRONT_KEEPERS; n++)
        if (f->keepers[n].state != KEEPER_NONE)
            *out_resident_mib += f->keepers[n].resident_mib;
    pthread_mutex_unlock(&f->lock);
}

void front_health_metrics(struct front *f, struct prometheus *page)
{
    struct prometheus_row rows[FAMILIES];
    struct breaker breaker;
    uint64_t resident_mib_sum = 0;
    sum_up(f, rows, &resident_mib_sum, &breaker);
    prometheus_rows(page, rows, FAMILIES);
    const struct prometheus_row more[] = {
        {"posward_hsm_keepers_resident_bytes", PROMETHEUS_GAUGE, "Resident memory of all keepers.",
         resident_mib_sum * MIB},
        {"posward_hsm_breaker_state", PROMETHEUS_GAUGE,
         "Circuit breaker, of the token that is best off: 0 closed, 1 half-open, 2 open.",
         (uint64_t)breaker.state},
    };
    prometheus_rows(page, more, sizeof more / sizeof more[0]);
    prometheus_family(page, "posward_hsm_breaker_changes_total", PROMETHEUS_COUNTER,
                      "Changes of circuit breakers, by the state they went to.");
    for (int state = 0; state < BREAKER_STATE_COUNT; state++) {
        const struct prometheus_label labels[] = {{"to", breaker_state_name((enum breaker_state)state)}, {0}};
        prometheus_count(page, labels, breaker.changes[state]);
    }
}
