#include "base/repeats.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kind {
    bool used;
    uint64_t hash;
    int64_t since_ms; /* begin of its period */
    struct repeats_sum sum;
};

struct repeats {
    int64_t period_ms;
    repeats_tell_fn tell;
    void *context;
    pthread_mutex_t lock;                                  /* what follows */
    int64_t due_ms;                                        /* no period ends earlier */
    struct kind kinds[REPEATS_KINDS_MAX + ERR_CODE_COUNT]; /* the last ones: a code's others */
};

enum err_code repeats_new(int64_t period_ms, repeats_tell_fn tell, void *context,
                          struct repeats **out_repeats, struct err *e)
{
    struct repeats *const r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    r->period_ms = period_ms;
    r->tell = tell;
    r->context = context;
    r->due_ms = INT64_MAX;
    pthread_mutex_init(&r->lock, NULL);
    *out_repeats = r;
    return ERR_OK;
}

void repeats_free(struct repeats *r)
{
    if (r == NULL)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* FNV-1a; it only spares comparisons. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3ULL;
    return (hash ^ 0xff) * 0x100000001b3ULL; /* the end */
}

/* The kind's texts as they are kept: cut. */
static struct kind kind_of(const struct repeats_event *event, int64_t now_ms)
{
    struct kind kind = {.used = true, .since_ms = now_ms, .sum.code = event->code};
    const struct {
        char *to;
        size_t capacity;
        const char *text;
    } texts[] = {
        {kind.sum.who, sizeof kind.sum.who, event->who},
        {kind.sum.what, sizeof kind.sum.what, event->what},
        {kind.sum.about, sizeof kind.sum.about, event->about},
        {kind.sum.note, sizeof kind.sum.note, event->note},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        snprintf(texts[i].to, texts[i].capacity, "%s", texts[i].text != NULL ? texts[i].text : "");
    kind.hash =
        hash_text(hash_text(hash_text(0xcbf29ce484222325ULL, kind.sum.who), kind.sum.what), kind.sum.about);
    return kind;
}

static bool same_kind(const struct kind *a, const struct kind *b)
{
    return a->hash == b->hash && a->sum.code == b->sum.code && strcmp(a->sum.who, b->sum.who) == 0 &&
           strcmp(a->sum.what, b->sum.what) == 0 && strcmp(a->sum.about, b->sum.about) == 0;
}

/* Lock held. */
static void be_due(struct repeats *r, int64_t due_ms)
{
    if (due_ms < r->due_ms)
        r->due_ms = due_ms;
}

/* Lock held. True when the event began a kind. */
static bool count(struct repeats *r, const struct kind *kind)
{
    struct kind *room = NULL;
    for (size_t i = 0; i < REPEATS_KINDS_MAX; i++) {
        struct kind *const known = &r->kinds[i];
        if (known->used && same_kind(known, kind)) {
            known->sum.count++;
            return false;
        }
        if (!known->used && room == NULL)
            room = known;
    }
    be_due(r, kind->since_ms + r->period_ms);
    if (room != NULL) {
        *room = *kind;
        return true;
    }
    struct kind *const others = &r->kinds[REPEATS_KINDS_MAX + kind->sum.code];
    if (!others->used) {
        *others = (struct kind){.used = true, .since_ms = kind->since_ms, .sum.code = kind->sum.code};
        snprintf(others->sum.who, sizeof others->sum.who, REPEATS_OTHERS);
    }
    others->sum.count++;
    return false;
}

bool repeats_first(struct repeats *r, const struct repeats_event *event, int64_t now_ms)
{
    const struct kind kind = kind_of(event, now_ms);
    pthread_mutex_lock(&r->lock);
    const bool first = count(r, &kind);
    pthread_mutex_unlock(&r->lock);
    return first;
}

/* Lock held. What is to be told of a kind whose period ends now; false: nothing, and it is forgotten. */
static bool end_period(struct kind *kind, int64_t now_ms, struct repeats_sum *out_sum)
{
    if (kind->sum.count == 0) {
        kind->used = false;
        return false;
    }
    *out_sum = kind->sum;
    out_sum->span_ms = now_ms - kind->since_ms;
    kind->sum.count = 0;
    kind->since_ms = now_ms;
    return true;
}

/* Tells one by one, so that the lock is free meanwhile; kinds that begin meanwhile move due_ms themselves. */
static void tell(struct repeats *r, int64_t period_ms, int64_t now_ms)
{
    pthread_mutex_lock(&r->lock);
    r->due_ms = INT64_MAX;
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < sizeof r->kinds / sizeof r->kinds[0]; i++) {
        struct repeats_sum sum;
        struct kind *const kind = &r->kinds[i];
        pthread_mutex_lock(&r->lock);
        const bool told =
            kind->used && now_ms - kind->since_ms >= period_ms && end_period(kind, now_ms, &sum);
        if (kind->used)
            be_due(r, kind->since_ms + r->period_ms);
        pthread_mutex_unlock(&r->lock);
        if (told)
            r->tell(r->context, &sum);
    }
}

void repeats_tell_due(struct repeats *r, int64_t now_ms)
{
    pthread_mutex_lock(&r->lock);
    const bool due = now_ms >= r->due_ms;
    pthread_mutex_unlock(&r->lock);
    if (due)
        tell(r, r->period_ms, now_ms);
}

void repeats_tell_all(struct repeats *r, int64_t now_ms)
{
    tell(r, 0, now_ms);
}

void repeats_text(const struct repeats_sum *sum, char out_text[REPEATS_TEXT_BYTES])
{
    char digits[24], grouped[32];
    const int len = snprintf(digits, sizeof digits, "%" PRIu64, sum->count);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            grouped[at++] = ',';
        grouped[at++] = digits[i];
    }
    grouped[at] = '\0';
    snprintf(out_text, REPEATS_TEXT_BYTES, "and %s more in %" PRId64 " s", grouped,
             (sum->span_ms + 999) / 1000);
}
