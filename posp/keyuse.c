#include "posp/keyuse.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/terms.h"
#include "base/wait.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#include <stdlib.h>

#define USES_MOST 512 /* in one report */
#define UNKNOWN_LEAST                                                                                        \
    32 /* versions that a row of unknown version may depend on, when no newer one is known */

typedef Posward__Hsm__V1__KeyUse key_use;

struct keyuse {
    struct posp *posp;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool changed, stopping;
};

static const struct use_row {
    enum store_use_kind kind;
    const char *role, *what;
    bool by_suite; /* else all are AES-256 */
} rows[] = {
    {STORE_USE_MASTER, "psam-master", "cards", true},
    {STORE_USE_CONTROL, "card-control", "cards", true},
    {STORE_USE_STORAGE, "storage", "blobs", false},
    {STORE_USE_TAG, "blob-tag", "blobs", false},
};

struct report {
    key_use uses[USES_MOST], *pointers[USES_MOST];
    Posward__Hsm__V1__KeyName names[USES_MOST];
    size_t count;
};

static enum err_code add(struct report *r, const struct use_row *row, const char *suite,
                         const struct store_use *use, struct err *e)
{
    for (size_t i = 0; i < r->count; i++) /* both AES suites have one master */
        if (r->names[i].version == use->version && r->uses[i].key->role == row->role &&
            r->names[i].suite == suite) {
            r->uses[i].count += use->count;
            return ERR_OK;
        }
    if (r->count == USES_MOST)
        return err_set(e, ERR_LIMIT, "more than %d keys are in use", USES_MOST);
    Posward__Hsm__V1__KeyName *const name = &r->names[r->count];
    key_use *const out = &r->uses[r->count];
    posward__hsm__v1__key_name__init(name);
    posward__hsm__v1__key_use__init(out);
    name->role = (char *)(uintptr_t)row->role;
    name->suite = (char *)(uintptr_t)suite;
    name->version = use->version;
    out->key = name;
    out->count = use->count;
    out->what = (char *)(uintptr_t)row->what;
    r->pointers[r->count++] = out;
    return ERR_OK;
}

static uint32_t newest_of(const struct store_use *uses, size_t count)
{
    uint32_t newest = UNKNOWN_LEAST;
    for (size_t i = 0; i < count; i++)
        if (uses[i].version > newest)
            newest = uses[i].version;
    return newest < KEY_VERSION_MAX ? newest : KEY_VERSION_MAX;
}

/* Rows that were made before POSP kept versions are older than those whose version is known: they may depend
 * on any up to the newest of these. Better a key that stays too long than one that is missed. */
static enum err_code add_unknown(struct report *r, const struct use_row *row, const char *suite,
                                 uint64_t count, uint32_t newest, struct err *e)
{
    for (uint32_t version = 1; version <= newest; version++)
        TRY(add(r, row, suite, &(struct store_use){.version = version, .count = count}, e));
    return ERR_OK;
}

static enum err_code add_use(struct report *r, const struct use_row *row, const struct store_use *use,
                             uint32_t newest, struct err *e)
{
    static const char tdes[] = "tdes", aes[] = "aes-256";
    const char *const suite =
        row->by_suite && use->suite == POSWARD__TYPES__V1__SUITE__SUITE_TDES ? tdes : aes;
    if (use->count == 0)
        return ERR_OK;
    if (use->version != 0)
        return add(r, row, suite, use, e);
    TRY(add_unknown(r, row, suite, use->count, newest, e));
    if (row->by_suite && use->suite == 0)
        return add_unknown(r, row, tdes, use->count, newest, e);
    return ERR_OK;
}

static enum err_code collect(struct store *store, struct report *r, struct err *e)
{
    struct store_use uses[USES_MOST];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t count = 0;
        TRY(store_uses(store, rows[i].kind, uses, USES_MOST, &count, e));
        for (size_t k = 0; k < count; k++)
            TRY(add_use(r, &rows[i], &uses[k], newest_of(uses, count), e));
    }
    return ERR_OK;
}

static enum err_code send(struct posp *posp, struct report *r, struct err *e)
{
    Posward__Hsm__V1__ReportKeyUseRequest request = POSWARD__HSM__V1__REPORT_KEY_USE_REQUEST__INIT;
    const struct rpc_call_options options = {.timeout_ms = posp->config->hsm_timeout_ms, .traceparent = ""};
    ProtobufCMessage *response = NULL;
    request.n_uses = r->count;
    request.uses = r->pointers;
    TRY(rpc_unary(posp->hsm_channel, &posward__hsm__v1__data_plane__descriptor, "ReportKeyUse", &request.base,
                  &options, &response, e));
    protobuf_c_message_free_unpacked(response, NULL);
    return ERR_OK;
}

static enum err_code report(struct posp *posp, struct err *e)
{
    struct report *const r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    enum err_code code = collect(posp->store, r, e);
    if (code == ERR_OK)
        code = send(posp, r, e);
    free(r);
    return code;
}

/* One line a change of state: a service that keeps no register says so for ever. */
static bool try_report(struct posp *posp, bool failed_before)
{
    struct err e = {0};
    if (report(posp, &e) == ERR_OK) {
        if (failed_before)
            log_event(LOG_INFO, "use of keys is told to the HSM service again");
        return true;
    }
    if (!failed_before)
        log_failure(LOG_WARN, "use of keys cannot be told to the HSM service", &e);
    return false;
}

/* Until the period is over, or a tenth of it once something has changed. False: stop. */
static bool wait_turn(struct keyuse *k)
{
    const int64_t period = k->posp->config->hsm_report_period_ms;
    const struct timespec soon = wait_end(period / 10), late = wait_end(period);
    pthread_mutex_lock(&k->lock);
    for (bool in_time = true; in_time && !k->stopping;)
        in_time = wait_until(&k->wake, &k->lock, &soon);
    for (bool in_time = true; in_time && !k->stopping && !k->changed;)
        in_time = wait_until(&k->wake, &k->lock, &late);
    const bool go_on = !k->stopping;
    k->changed = false;
    pthread_mutex_unlock(&k->lock);
    return go_on;
}

static void *report_loop(void *context)
{
    struct keyuse *const k = context;
    bool failed = false;
    do
        failed = !try_report(k->posp, failed);
    while (wait_turn(k));
    return NULL;
}

static void drop_locks(struct keyuse *k)
{
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

enum err_code keyuse_start(struct posp *posp, struct keyuse **out_keyuse, struct err *e)
{
    struct keyuse *const k = calloc(1, sizeof *k);
    if (k == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    k->posp = posp;
    pthread_mutex_init(&k->lock, NULL);
    wait_cond_init(&k->wake);
    if (pthread_create(&k->thread, NULL, report_loop, k) != 0) {
        drop_locks(k);
        return err_set(e, ERR_LIMIT, "cannot start the thread that reports the use of keys");
    }
    *out_keyuse = k;
    return ERR_OK;
}

void keyuse_changed(struct keyuse *k)
{
    if (k == NULL)
        return;
    pthread_mutex_lock(&k->lock);
    k->changed = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
}

void keyuse_free(struct keyuse *k)
{
    if (k == NULL)
        return;
    pthread_mutex_lock(&k->lock);
    k->stopping = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    drop_locks(k);
}
