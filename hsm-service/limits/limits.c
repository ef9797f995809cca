#include "hsm-service/limits/limits.h"

#include "base/hex.h"
#include "base/secret.h"
#include "hsm-service/limits/window.h"

#include <nettle/hmac.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define KEY_BYTES  32
#define NAME_BYTES 16 /* of an HMAC, enough that two never meet */
#define WAYS       8  /* entries that a number may stand in */
#define SETS       (LIMITS_ENTRIES / WAYS)

struct entry {
    uint8_t name[NAME_BYTES]; /* zeroes: free */
    struct window minute, hour;
};

struct bucket {
    char *identity; /* "" for everybody without one of their own */
    unsigned per_second, burst;
    int64_t level_milli; /* thousandths of an operation that may pass now */
    int64_t filled_ms;
};

struct limits {
    struct secret key;
    pthread_mutex_t lock; /* all below */
    struct limits_policy policy;
    struct entry *entries; /* SETS times WAYS */
    struct bucket buckets[LIMITS_CALLERS];
    size_t bucket_count;
    struct limits_counts counts;
};

const char *limits_kind_name(enum limits_kind kind)
{
    static const char *const names[] = {"terminal", "account", "caller"};
    return kind < LIMITS_KIND_COUNT ? names[kind] : "unknown";
}

static unsigned stricter(unsigned a, unsigned b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

struct limits_policy limits_stricter(const struct limits_policy *a, const struct limits_policy *b)
{
    return (struct limits_policy){stricter(a->terminal_per_minute, b->terminal_per_minute),
                                  stricter(a->terminal_per_hour, b->terminal_per_hour),
                                  stricter(a->account_per_minute, b->account_per_minute),
                                  stricter(a->account_per_hour, b->account_per_hour)};
}

/* ---- New and free ---- */

static enum err_code make_key(struct limits *l, struct err *e)
{
    TRY(secret_init(&l->key, e));
    if (getrandom(l->key.bytes, KEY_BYTES, 0) != KEY_BYTES)
        return err_errno(e, "no random key for the limits");
    l->key.len = KEY_BYTES;
    return ERR_OK;
}

static enum err_code add_bucket(struct limits *l, const struct limits_quota *quota, struct err *e)
{
    if (l->bucket_count == LIMITS_CALLERS)
        return err_set(e, ERR_LIMIT, "limits.quotas has more than %d identities", LIMITS_CALLERS);
    char *const identity = strdup(quota->identity);
    if (identity == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the limits");
    const unsigned burst = quota->burst != 0 ? quota->burst : quota->per_second;
    l->buckets[l->bucket_count++] = (struct bucket){.identity = identity,
                                                    .per_second = quota->per_second,
                                                    .burst = burst,
                                                    .level_milli = (int64_t)burst * 1000};
    return ERR_OK;
}

static enum err_code fill(struct limits *l, const struct limits_quota *quotas, size_t count, struct err *e)
{
    TRY(make_key(l, e));
    l->entries = calloc(LIMITS_ENTRIES, sizeof *l->entries); /* pages come with their use */
    if (l->entries == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the limits");
    for (size_t i = 0; i < count; i++)
        TRY(add_bucket(l, &quotas[i], e));
    return ERR_OK;
}

enum err_code limits_new(const struct limits_policy *policy, const struct limits_quota *quotas,
                         size_t quota_count, struct limits **out_limits, struct err *e)
{
    struct limits *const l = calloc(1, sizeof *l);
    if (l == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the limits");
    pthread_mutex_init(&l->lock, NULL);
    l->policy = *policy;
    const enum err_code code = fill(l, quotas, quota_count, e);
    if (code != ERR_OK) {
        limits_free(l);
        return code;
    }
    *out_limits = l;
    return ERR_OK;
}

void limits_free(struct limits *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->bucket_count; i++)
        free(l->buckets[i].identity);
    free(l->entries);
    secret_drop(&l->key);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void limits_set(struct limits *l, const struct limits_policy *policy)
{
    if (l == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    l->policy = *policy;
    pthread_mutex_unlock(&l->lock);
}

struct limits_policy limits_get(struct limits *l)
{
    if (l == NULL)
        return (struct limits_policy){0};
    pthread_mutex_lock(&l->lock);
    const struct limits_policy policy = l->policy;
    pthread_mutex_unlock(&l->lock);
    return policy;
}

/* ---- The table ---- */

/* False: no number, which is not counted. */
static bool name_of(const struct limits *l, enum limits_kind kind, struct limits_digits d,
                    uint8_t out_name[NAME_BYTES])
{
    const uint8_t domain = (uint8_t)kind;
    struct hmac_sha256_ctx hmac;
    const size_t least = kind == LIMITS_ACCOUNT ? LIMITS_PAN_LEAST : 1;
    if (d.len < least || d.len > LIMITS_DIGITS_MOST || !digits_only(d.digits, d.len))
        return false;
    hmac_sha256_set_key(&hmac, l->key.len, l->key.bytes);
    hmac_sha256_update(&hmac, 1, &domain);
    hmac_sha256_update(&hmac, d.len, (const uint8_t *)d.digits);
    hmac_sha256_digest(&hmac, NAME_BYTES, out_name);
    secret_wipe(&hmac, sizeof hmac);
    return true;
}

static bool is_free(const struct entry *entry)
{
    static const uint8_t zeroes[NAME_BYTES];
    return secret_equal(entry->name, zeroes, NAME_BYTES);
}

static bool runs(const struct entry *entry)
{
    return window_runs(&entry->minute) || window_runs(&entry->hour);
}

static void move(struct entry *entry, int64_t now_ms)
{
    window_move(&entry->minute, WINDOW_MINUTE_MS, now_ms);
    window_move(&entry->hour, WINDOW_HOUR_MS, now_ms);
}

/* What is least missed: nothing, then what has run out, then what counts least. Who could choose which entry
 * goes could wash his counts away; the key keeps the sets from view. */
static unsigned worth(const struct entry *entry)
{
    if (is_free(entry))
        return 0;
    if (!runs(entry))
        return 1;
    return 2U + entry->hour.now + entry->hour.before;
}

/* The entry of that name, made when it is missing. Lock held. */
static struct entry *entry_of(struct limits *l, const uint8_t name[NAME_BYTES], int64_t now_ms)
{
    uint32_t set = 0;
    memcpy(&set, name, sizeof set);
    struct entry *const first = &l->entries[(size_t)(set % SETS) * WAYS];
    struct entry *least = first;
    for (struct entry *entry = first; entry < first + WAYS; entry++) {
        if (!is_free(entry))
            move(entry, now_ms);
        if (secret_equal(entry->name, name, NAME_BYTES))
            return entry;
        if (worth(entry) < worth(least))
            least = entry;
    }
    l->counts.entries += is_free(least);
    l->counts.forgotten += runs(least);
    *least = (struct entry){0};
    memcpy(least->name, name, NAME_BYTES);
    move(least, now_ms);
    return least;
}

static int64_t wait_of(const struct entry *entry, unsigned per_minute, unsigned per_hour, int64_t now_ms)
{
    const int64_t minute_ms = window_wait(&entry->minute, WINDOW_MINUTE_MS, per_minute, now_ms);
    const int64_t hour_ms = window_wait(&entry->hour, WINDOW_HOUR_MS, per_hour, now_ms);
    return minute_ms > hour_ms ? minute_ms : hour_ms;
}

static void add(struct entry *entry)
{
    window_add(&entry->minute);
    window_add(&entry->hour);
}

static struct limits_verdict refuse(struct limits *l, enum limits_kind kind, int64_t retry_ms)
{
    l->counts.refused[kind]++;
    return (struct limits_verdict){.refused = true, .kind = kind, .retry_ms = retry_ms};
}

struct limits_verdict limits_pin(struct limits *l, struct limits_digits terminal,
                                 struct limits_digits account, int64_t now_ms)
{
    uint8_t terminal_name[NAME_BYTES], account_name[NAME_BYTES];
    struct limits_verdict verdict = {0};
    if (l == NULL)
        return verdict;
    const bool has_terminal = name_of(l, LIMITS_TERMINAL, terminal, terminal_name);
    const bool has_account = name_of(l, LIMITS_ACCOUNT, account, account_name);
    pthread_mutex_lock(&l->lock);
    const struct limits_policy *const p = &l->policy;
    struct entry *const t = has_terminal ? entry_of(l, terminal_name, now_ms) : NULL;
    int64_t wait_ms = t != NULL ? wait_of(t, p->terminal_per_minute, p->terminal_per_hour, now_ms) : 0;
    if (wait_ms > 0)
        verdict = refuse(l, LIMITS_TERMINAL, wait_ms);
    if (t != NULL && wait_ms == 0)
        add(t); /* before the account's entry is looked for, which may take its place */
    struct entry *const a = has_account && wait_ms == 0 ? entry_of(l, account_name, now_ms) : NULL;
    wait_ms = a != NULL ? wait_of(a, p->account_per_minute, p->account_per_hour, now_ms) : 0;
    if (wait_ms > 0)
        verdict = refuse(l, LIMITS_ACCOUNT, wait_ms);
    else if (a != NULL)
        add(a);
    pthread_mutex_unlock(&l->lock);
    return verdict;
}

static void take_back(struct limits *l, enum limits_kind kind, struct limits_digits digits, int64_t now_ms)
{
    uint8_t name[NAME_BYTES];
    if (!name_of(l, kind, digits, name))
        return;
    pthread_mutex_lock(&l->lock);
    struct entry *const entry = entry_of(l, name, now_ms);
    window_take_back(&entry->minute);
    window_take_back(&entry->hour);
    pthread_mutex_unlock(&l->lock);
}

void limits_pin_undone(struct limits *l, struct limits_digits terminal, struct limits_digits account,
                       int64_t now_ms)
{
    if (l == NULL)
        return;
    take_back(l, LIMITS_TERMINAL, terminal, now_ms);
    take_back(l, LIMITS_ACCOUNT, account, now_ms);
}

void limits_account_name(struct limits *l, struct limits_digits account, char out_name[9])
{
    uint8_t name[NAME_BYTES];
    memcpy(out_name, "-", 2);
    if (l != NULL && name_of(l, LIMITS_ACCOUNT, account, name))
        hex_encode(name, 4, out_name);
}

/* ---- Callers ---- */

static struct bucket *bucket_of(struct limits *l, const char *identity)
{
    struct bucket *others = NULL;
    for (size_t i = 0; i < l->bucket_count; i++) {
        if (strcmp(l->buckets[i].identity, identity) == 0)
            return &l->buckets[i];
        if (l->buckets[i].identity[0] == '\0')
            others = &l->buckets[i];
    }
    return others;
}

static void refill(struct bucket *b, int64_t now_ms)
{
    const int64_t most = (int64_t)b->burst * 1000;
    const int64_t passed_ms = now_ms - b->filled_ms;
    b->level_milli +=
        passed_ms * b->per_second; /* per_second a second is as many thousandths a millisecond */
    if (b->level_milli > most || passed_ms > WINDOW_HOUR_MS)
        b->level_milli = most;
    b->filled_ms = now_ms;
}

struct limits_verdict limits_caller(struct limits *l, const char *identity, unsigned operations,
                                    int64_t now_ms)
{
    struct limits_verdict verdict = {0};
    if (l == NULL || operations == 0)
        return verdict;
    pthread_mutex_lock(&l->lock);
    struct bucket *const b = bucket_of(l, identity);
    if (b != NULL && b->per_second != 0) {
        refill(b, now_ms);
        /* One call that is larger than the bucket passes when the bucket is full. */
        const int64_t asked = (int64_t)(operations < b->burst ? operations : b->burst) * 1000;
        if (b->level_milli < asked)
            verdict = refuse(l, LIMITS_CALLER,
                             (asked - b->level_milli + b->per_second - 1) / (int64_t)b->per_second);
        else
            b->level_milli -= (int64_t)operations * 1000;
    }
    pthread_mutex_unlock(&l->lock);
    return verdict;
}

struct limits_counts limits_counts(struct limits *l)
{
    if (l == NULL)
        return (struct limits_counts){0};
    pthread_mutex_lock(&l->lock);
    const struct limits_counts counts = l->counts;
    pthread_mutex_unlock(&l->lock);
    return counts;
}
