#include "hsm-service/limits/limits.h"

#include "base/hex.h"
#include "base/secret.h"
#include "hsm-service/limits/buckets.h"
#include "hsm-service/limits/window.h"

#include <nettle/hmac.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define KEY_BYTES  32
#define NAME_BYTES 16 /* of an HMAC, enough that two never meet */
#define WAYS       8  /* entries that a name may stand in */
#define SETS       (LIMITS_ENTRIES / WAYS)

struct entry {
    uint8_t name[NAME_BYTES]; /* zeroes: free */
    struct window minute, hour;
};

/* Pairs of terminal and account have a table of their own: each one counts so little that it must not take
 * the place of what does. */
enum table { TABLE_NAMES, TABLE_PAIRS, TABLE_COUNT };

struct limits {
    struct secret key;
    pthread_mutex_t lock; /* all below */
    struct limits_policy policy;
    struct entry *entries[TABLE_COUNT]; /* each SETS times WAYS */
    struct buckets buckets;
    struct limits_counts counts;
};

const char *limits_kind_name(enum limits_kind kind)
{
    static const char *const names[] = {
        [LIMITS_TERMINAL] = "terminal",
        [LIMITS_ZONE] = "zone",
        [LIMITS_TERMINAL_ACCOUNTS] = "terminal_accounts",
        [LIMITS_ACCOUNT] = "account",
        [LIMITS_FAILURE_KEY] = "failure_key",
        [LIMITS_FAILURE_ACCOUNT] = "failure_account",
        [LIMITS_FAILURE_CALLER] = "failure_caller",
        [LIMITS_CALLER] = "caller",
    };
    return kind < LIMITS_KIND_COUNT ? names[kind] : "unknown";
}

static unsigned stricter(unsigned a, unsigned b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

struct limits_policy limits_stricter(const struct limits_policy *a, const struct limits_policy *b)
{
    struct limits_policy strict;
    for (size_t i = 0; i < LIMITS_WINDOW_COUNT; i++)
        strict.rows[i] = (struct limits_row){stricter(a->rows[i].per_minute, b->rows[i].per_minute),
                                             stricter(a->rows[i].per_hour, b->rows[i].per_hour)};
    return strict;
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

static enum err_code fill(struct limits *l, const struct limits_quota *quotas, size_t count, struct err *e)
{
    TRY(make_key(l, e));
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        l->entries[i] = calloc(LIMITS_ENTRIES, sizeof *l->entries[i]); /* pages come with their use */
        if (l->entries[i] == NULL)
            return err_set(e, ERR_LIMIT, "no memory for the limits");
    }
    for (size_t i = 0; i < count; i++)
        TRY(buckets_add(&l->buckets, &quotas[i], e));
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
    buckets_drop(&l->buckets);
    for (size_t i = 0; i < TABLE_COUNT; i++)
        free(l->entries[i]);
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

/* Whose name it is; each has names of its own. */
enum domain { DOMAIN_TERMINAL = 1, DOMAIN_ZONE, DOMAIN_ACCOUNT, DOMAIN_CALLER };

struct name {
    uint8_t bytes[NAME_BYTES];
    bool known;
};

static struct name name_of(const struct limits *l, enum domain domain, struct limits_name text)
{
    const uint8_t tag = (uint8_t)domain;
    struct name name = {0};
    struct hmac_sha256_ctx hmac;
    if (text.len == 0 || text.len > LIMITS_NAME_MAX)
        return name;
    hmac_sha256_set_key(&hmac, l->key.len, l->key.bytes);
    hmac_sha256_update(&hmac, 1, &tag);
    hmac_sha256_update(&hmac, text.len, (const uint8_t *)text.text);
    hmac_sha256_digest(&hmac, NAME_BYTES, name.bytes);
    secret_wipe(&hmac, sizeof hmac);
    name.known = true;
    return name;
}

/* The entry of a row that counts something else of the same name: its HMAC moved by a constant, so that the
 * rows of one name do not crowd one set. */
static struct name row_name(const struct name *name, enum limits_kind kind)
{
    struct name moved = *name;
    for (size_t i = 0; i < 4; i++)
        moved.bytes[i] ^= (uint8_t)(0x9E3779B1U * ((unsigned)kind + 1U) >> 8 * i);
    return moved;
}

static struct name pair_name(const struct name *a, const struct name *b)
{
    struct name pair = {.known = a->known && b->known};
    for (size_t i = 0; i < NAME_BYTES; i++)
        pair.bytes[i] = a->bytes[i] ^ b->bytes[i];
    return pair;
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

/* What is least missed: nothing, then what has run out, then what counts least. An attacker who could choose
 * which entry goes could reset their own count; the key keeps the sets from view. */
static unsigned worth(const struct entry *entry)
{
    if (is_free(entry))
        return 0;
    if (!runs(entry))
        return 1;
    return 2U + entry->hour.now + entry->hour.before;
}

/* The entry of that name, made when it is missing. Lock held. */
static struct entry *entry_of(struct limits *l, enum table table, const struct name *name, int64_t now_ms)
{
    uint32_t set = 0;
    memcpy(&set, name->bytes, sizeof set);
    struct entry *const first = &l->entries[table][(size_t)(set % SETS) * WAYS];
    struct entry *least = first;
    for (struct entry *entry = first; entry < first + WAYS; entry++) {
        if (!is_free(entry))
            move(entry, now_ms);
        if (secret_equal(entry->name, name->bytes, NAME_BYTES))
            return entry;
        if (worth(entry) < worth(least))
            least = entry;
    }
    l->counts.entries += is_free(least);
    l->counts.forgotten += table == TABLE_NAMES && runs(least);
    *least = (struct entry){0};
    memcpy(least->name, name->bytes, NAME_BYTES);
    move(least, now_ms);
    return least;
}

static int64_t wait_of(const struct entry *entry, const struct limits_row *row, int64_t now_ms)
{
    const int64_t minute_ms = window_wait(&entry->minute, WINDOW_MINUTE_MS, row->per_minute, now_ms);
    const int64_t hour_ms = window_wait(&entry->hour, WINDOW_HOUR_MS, row->per_hour, now_ms);
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

/* Names of one operation. */
struct names {
    struct name terminal, zone, account, caller;
};

static struct names names_of(const struct limits *l, const struct limits_pin_use *use)
{
    struct names n = {.terminal = name_of(l, DOMAIN_TERMINAL, use->terminal),
                      .zone = name_of(l, DOMAIN_ZONE, use->zone)};
    if (use->account.len == LIMITS_ACCOUNT_DIGITS && digits_only(use->account.text, use->account.len))
        n.account = name_of(l, DOMAIN_ACCOUNT, use->account);
    if (use->decoded)
        n.caller = name_of(l, DOMAIN_CALLER, use->caller);
    return n;
}

/* The name that a row counts for this operation. */
static struct name counted_name(const struct names *n, enum limits_kind kind)
{
    switch (kind) {
    case LIMITS_TERMINAL:
    case LIMITS_TERMINAL_ACCOUNTS:
        return n->terminal;
    case LIMITS_ZONE:
        return n->zone;
    case LIMITS_ACCOUNT:
    case LIMITS_FAILURE_ACCOUNT:
        return n->account;
    case LIMITS_FAILURE_KEY:
        return n->terminal.known ? n->terminal : n->zone;
    case LIMITS_FAILURE_CALLER:
        return n->caller;
    case LIMITS_CALLER:
    case LIMITS_KIND_COUNT:
        break;
    }
    return (struct name){0};
}

/* The mark of an account that this terminal showed; NULL: it has no account to mark. */
static struct entry *pair_of(struct limits *l, const struct names *n, int64_t now_ms)
{
    const struct name pair = pair_name(&n->terminal, &n->account);
    return pair.known ? entry_of(l, TABLE_PAIRS, &pair, now_ms) : NULL;
}

/* Lock held. Milliseconds to wait; 0: it passes this row, and is counted where the row counts it. */
static int64_t count_row(struct limits *l, enum limits_kind kind, const struct limits_pin_use *use,
                         const struct names *n, int64_t now_ms)
{
    const struct limits_row *const row = &l->policy.rows[kind];
    const struct name name = counted_name(n, kind);
    const bool of_failures = kind >= LIMITS_FAILURE_KEY;
    const bool of_pairs = kind == LIMITS_TERMINAL_ACCOUNTS;
    if (!name.known || (of_failures && !use->decoded) ||
        (of_pairs && row->per_hour == 0 && row->per_minute == 0))
        return 0;
    struct entry *const pair = of_pairs ? pair_of(l, n, now_ms) : NULL;
    if (of_pairs && (pair == NULL || window_runs(&pair->hour)))
        return 0; /* an account that it showed before is not one more */
    const struct name of_row = row_name(&name, kind);
    struct entry *const entry = entry_of(l, TABLE_NAMES, &of_row, now_ms);
    const int64_t wait_ms = wait_of(entry, row, now_ms);
    if (wait_ms > 0)
        return wait_ms;
    if (!of_failures || use->failed)
        add(entry);
    if (pair != NULL)
        window_add(&pair->hour);
    return 0;
}

struct limits_verdict limits_pin(struct limits *l, const struct limits_pin_use *use, int64_t now_ms)
{
    struct limits_verdict verdict = {0};
    if (l == NULL)
        return verdict;
    const struct names n = names_of(l, use);
    pthread_mutex_lock(&l->lock);
    for (int kind = 0; kind < LIMITS_WINDOW_COUNT && !verdict.refused; kind++) {
        const int64_t wait_ms = count_row(l, (enum limits_kind)kind, use, &n, now_ms);
        if (wait_ms > 0)
            verdict = refuse(l, (enum limits_kind)kind, wait_ms);
    }
    pthread_mutex_unlock(&l->lock);
    return verdict;
}

void limits_account_name(struct limits *l, struct limits_name account, char out_name[9])
{
    memcpy(out_name, "-", 2);
    if (l == NULL)
        return;
    const struct name name = name_of(l, DOMAIN_ACCOUNT, account);
    if (name.known)
        hex_encode(name.bytes, 4, out_name);
}

/* ---- Callers ---- */

struct limits_verdict limits_caller(struct limits *l, const char *identity, unsigned operations,
                                    int64_t now_ms)
{
    struct limits_verdict verdict = {0};
    if (l == NULL || operations == 0)
        return verdict;
    pthread_mutex_lock(&l->lock);
    const int64_t wait_ms = buckets_take(&l->buckets, identity, operations, now_ms);
    if (wait_ms > 0)
        verdict = refuse(l, LIMITS_CALLER, wait_ms);
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
