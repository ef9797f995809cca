#include "hsm-service/front/pool.h"

#include "base/clock.h"
#include "hsm-service/front/state.h"
#include "run/prometheus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURN_MS 10000 /* so long a token waits for those before it to say which keys count */

void front_pool_init(struct front_pool *p, const struct hsm_config *config)
{
    *p = (struct front_pool){.count = hsm_config_tokens(config), .round_ms = clock_monotonic_ms()};
    for (size_t i = 0; i < p->count; i++)
        hsm_config_token(config, i, &p->tokens[i].is);
}

void front_pool_drop(struct front_pool *p)
{
    free(p->reference);
    p->reference = NULL;
}

/* ---- The same keys ---- */

/* One line of a keyset, or what is left of it. */
struct line {
    const char *at;
    size_t len, name_len; /* the name ends before the first space */
};

static struct line next_line(const char **text)
{
    const char *const end = strchrnul(*text, '\n');
    struct line l = {.at = *text, .len = (size_t)(end - *text)};
    const char *const space = memchr(l.at, ' ', l.len);
    l.name_len = space != NULL ? (size_t)(space - l.at) : l.len;
    *text = *end != '\0' ? end + 1 : end;
    return l;
}

static bool same_name(const struct line *a, const struct line *b)
{
    return a->name_len == b->name_len && strncmp(a->at, b->at, a->name_len) == 0;
}

static int by_name(const struct line *a, const struct line *b)
{
    const size_t shorter = a->name_len < b->name_len ? a->name_len : b->name_len;
    const int order = strncmp(a->at, b->at, shorter);
    return order != 0 ? order : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

static const char *state_of(const struct line *l)
{
    static const char *const names[] = {"pre-active", "active", "deactivated"};
    const char letter = l->len > l->name_len + 1 ? l->at[l->name_len + 1] : '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i][0] == letter)
            return names[i];
    return "in no state";
}

static struct line value_of(const struct line *l)
{
    const size_t before = l->name_len + 3; /* " a " */
    return l->len > before ? (struct line){.at = l->at + before, .len = l->len - before}
                           : (struct line){.at = "-", .len = 1};
}

static void say_difference(const struct line *ours, const struct line *theirs,
                           char out_text[POOL_DIFFERENCE_BYTES])
{
    const struct line a = value_of(ours), b = value_of(theirs);
    const int order = ours->len == 0 ? 1 : theirs->len == 0 ? -1 : by_name(ours, theirs);
    if (order > 0)
        snprintf(out_text, POOL_DIFFERENCE_BYTES, "key %.*s is missing, the tokens that serve have it (%.*s)",
                 (int)theirs->name_len, theirs->at, (int)b.len, b.at);
    else if (order < 0)
        snprintf(out_text, POOL_DIFFERENCE_BYTES, "key %.*s (%.*s) is not in the tokens that serve",
                 (int)ours->name_len, ours->at, (int)a.len, a.at);
    else if (a.len != b.len || strncmp(a.at, b.at, a.len) != 0)
        snprintf(out_text, POOL_DIFFERENCE_BYTES,
                 "key %.*s has check value %.*s, in the tokens that serve %.*s", (int)ours->name_len,
                 ours->at, (int)a.len, a.at, (int)b.len, b.at);
    else
        snprintf(out_text, POOL_DIFFERENCE_BYTES, "key %.*s is %s, in the tokens that serve %s",
                 (int)ours->name_len, ours->at, state_of(ours), state_of(theirs));
}

void front_pool_difference(const char *keys, const char *reference, char out_text[POOL_DIFFERENCE_BYTES])
{
    snprintf(out_text, POOL_DIFFERENCE_BYTES, "its keys are in another order");
    while (*keys != '\0' || *reference != '\0') {
        const struct line ours = next_line(&keys), theirs = next_line(&reference);
        if (same_name(&ours, &theirs) && ours.len == theirs.len && strncmp(ours.at, theirs.at, ours.len) == 0)
            continue;
        say_difference(&ours, &theirs, out_text);
        return;
    }
}

void front_pool_reload(struct front_pool *p, int64_t now_ms)
{
    p->settled = false;
    p->round_ms = now_ms;
    for (size_t i = 0; i < p->count; i++)
        p->tokens[i].reported = false;
}

bool front_pool_may_start(const struct front_pool *p, size_t index, int64_t now_ms)
{
    bool may = true;
    for (size_t i = 0; i < index; i++)
        may &= p->tokens[i].reported;
    return may || p->settled || now_ms - p->round_ms >= TURN_MS;
}

static bool may_lead(const struct front_pool *p, size_t index)
{
    bool alone = true;
    for (size_t i = 0; i < p->count; i++)
        alone &= i == index || p->tokens[i].ready == 0;
    return p->reference == NULL || (p->tokens[index].ready > 0 && (alone || !p->settled));
}

bool front_pool_is_reference(const struct front_pool *p, const char *keys)
{
    return p->count == 1 || (p->reference != NULL && strcmp(p->reference, keys) == 0);
}

bool front_pool_admits(struct front_pool *p, size_t index, const char *keys,
                       char out_difference[POOL_DIFFERENCE_BYTES])
{
    if (p->count == 1)
        return true;
    p->tokens[index].reported = true;
    if (!front_pool_is_reference(p, keys)) {
        char *const reference = may_lead(p, index) ? strdup(keys) : NULL;
        if (reference == NULL) {
            front_pool_difference(keys, p->reference != NULL ? p->reference : "", out_difference);
            return false;
        }
        free(p->reference);
        p->reference = reference;
    }
    p->settled = true;
    return true;
}

enum err_code front_pool_may_change_keys(const struct front_pool *p, struct err *e)
{
    if (p->count == 1)
        return ERR_OK;
    return err_set(e, ERR_STATE,
                   "%zu tokens serve, and a key changed in one does not change in the others: take "
                   "token.replicas out, restart, change keys, copy the token, put the replicas back",
                   p->count);
}

/* ---- Which serve ---- */

static bool is_open(const struct front_token *t)
{
    return t->breaker.state == BREAKER_CLOSED && !t->kept_out;
}

bool front_pool_serves(const struct front_pool *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (is_open(&p->tokens[i]) && p->tokens[i].ready > 0)
            return true;
    return false;
}

bool front_pool_takes(const struct front_pool *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct front_token *const t = &p->tokens[i];
        if (is_open(t) && (t->ready > 0 || (t->ever_ready && !t->start_failed && !t->halted)))
            return true;
    }
    return false;
}

bool front_pool_is_away(const struct front_pool *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->tokens[i].breaker.state != BREAKER_OPEN && !p->tokens[i].kept_out)
            return false;
    return true;
}

bool front_pool_failed(const struct front_pool *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->tokens[i].ready > 0 || (!p->tokens[i].start_failed && !p->tokens[i].kept_out))
            return false;
    return true;
}

enum err_code front_pool_never(const struct front_pool *p, struct err *e)
{
    for (size_t i = 0; i < p->count; i++)
        if (!p->tokens[i].start_failed || p->tokens[i].start_error.code != ERR_UNSUPPORTED)
            return ERR_OK;
    *e = p->tokens[0].start_error;
    return e->code;
}

/* The first one that is not kept out tells. */
enum err_code front_pool_say_away(const struct front_pool *p, struct err *e)
{
    const struct front_token *t = &p->tokens[0];
    for (size_t i = 0; t->kept_out && i < p->count; i++)
        t = p->tokens[i].kept_out ? t : &p->tokens[i];
    if (t->kept_out)
        return err_set(e, ERR_UNAVAILABLE, "no keeper: the token is kept out, %.140s", t->difference);
    if (t->halted)
        return err_set(e, ERR_UNAVAILABLE,
                       "no keeper: the token refused the login (%.110s); mend token.pin_file, "
                       "then send SIGHUP",
                       t->start_error.note);
    if (t->start_failed)
        return err_set(e, ERR_UNAVAILABLE, "no keeper: %.150s; it is tried again", t->start_error.note);
    if (t->breaker.state != BREAKER_CLOSED)
        return err_set(e, ERR_UNAVAILABLE, "the token is away, and is being tried: %.140s", t->breaker.why);
    return err_set(e, ERR_UNAVAILABLE, "no keeper is ready yet: the first one is starting");
}

/* ---- Metrics ---- */

static uint64_t is_up(const struct front_token *t)
{
    return is_open(t) && t->ready > 0;
}

static uint64_t is_kept_out(const struct front_token *t)
{
    return t->kept_out;
}

static uint64_t breaker_of(const struct front_token *t)
{
    return (uint64_t)t->breaker.state;
}

static uint64_t ready_of(const struct front_token *t)
{
    return t->ready;
}

static const struct {
    const char *name, *help;
    uint64_t (*of)(const struct front_token *t);
} rows[] = {
    {"posward_token_up", "Whether a token of the pool serves.", is_up},
    {"posward_token_kept_out", "Whether a token of the pool is kept out, since its keys differ.",
     is_kept_out},
    {"posward_token_breaker_state", "Circuit breaker of a token: 0 closed, 1 half-open, 2 open.", breaker_of},
    {"posward_token_keepers_ready", "Keepers of a token that take calls.", ready_of},
};
#define ROWS (sizeof rows / sizeof rows[0])

void front_pool_metrics(struct front *f, struct prometheus *page)
{
    uint64_t values[ROWS][HSM_TOKENS_MOST];
    const struct front_pool *const p = &f->pool;
    pthread_mutex_lock(&f->lock);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t i = 0; i < p->count; i++)
            values[row][i] = rows[row].of(&p->tokens[i]);
    pthread_mutex_unlock(&f->lock);
    for (size_t row = 0; row < ROWS; row++) {
        prometheus_family(page, rows[row].name, PROMETHEUS_GAUGE, rows[row].help);
        for (size_t i = 0; i < p->count; i++) {
            const struct prometheus_label labels[] = {{"token", p->tokens[i].is.name}, {0}};
            prometheus_count(page, labels, values[row][i]);
        }
    }
}
