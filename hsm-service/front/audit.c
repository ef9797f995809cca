#include "hsm-service/front/audit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "hsm-service/front/audit_inside.h"
#include "hsm-service/front/state.h"
#include "hsm-service/gate/facts.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "run/prometheus.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FINISH_MS 3000
#define JOINED_MS 60000 /* equal refusals stand in one record for so long */

void front_audit_event(struct front_audit *a, enum audit_kind kind, const char *what,
                       const struct err *failure, const char *note)
{
    if (a == NULL)
        return;
    struct audit_record r = {.kind = kind, .time_ms = clock_wall_ms(), .who = "service"};
    audit_text(what, strlen(what), r.what, sizeof r.what);
    audit_text(note, strlen(note), r.note, sizeof r.note);
    snprintf(r.result, sizeof r.result, "%s", failure != NULL ? err_name(failure->code) : "OK");
    audit_writer_post(a->writer, &r, NULL, NULL);
}

struct writing {
    pthread_mutex_t lock;
    pthread_cond_t written;
    bool done, on_disk;
};

static void tell_written(void *context, bool on_disk)
{
    struct writing *const w = context;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->on_disk = on_disk;
    pthread_cond_signal(&w->written);
    pthread_mutex_unlock(&w->lock);
}

enum err_code front_audit_write(struct front_audit *a, const struct audit_record *record, struct err *e)
{
    struct writing w = {.lock = PTHREAD_MUTEX_INITIALIZER, .written = PTHREAD_COND_INITIALIZER};
    if (a == NULL)
        return ERR_OK;
    audit_writer_post(a->writer, record, tell_written, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.written, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return w.on_disk ? ERR_OK : err_set(e, ERR_UNAVAILABLE, NOT_WRITTEN);
}

static struct audit_caller caller_of(const struct rpc_call *call)
{
    const struct rpc_peer *const peer = rpc_call_peer(call);
    const char *const identity = peer != NULL && peer->identity != NULL ? peer->identity : "";
    const char *const trace = rpc_call_traceparent(call);
    return (struct audit_caller){identity, strlen(identity), trace, strlen(trace)};
}

static void post_refusal(struct front_audit *a, const struct audit_caller *caller, const char *path,
                         const struct err *e)
{
    struct audit_record r = {.kind = AUDIT_REFUSAL};
    if (a == NULL || !front_audit_is_refusal(e->code))
        return;
    front_audit_fill(&r, caller);
    snprintf(r.result, sizeof r.result, "%s", err_name(e->code));
    audit_text(path, strlen(path), r.what, sizeof r.what);
    audit_text(e->note, strlen(e->note), r.note, sizeof r.note);
    audit_writer_post(a->writer, &r, NULL, NULL);
}

static void post_joined(struct front_audit *a, const struct audit_caller *caller, const char *path,
                        const char *about, const struct err *e)
{
    char who[IPC_IDENTITY_BYTES + 1];
    if (a == NULL || !front_audit_is_refusal(e->code))
        return;
    snprintf(who, sizeof who, "%.*s", (int)caller->identity_len, caller->identity);
    const struct repeats_event event = {
        .who = who, .what = path, .about = about, .note = e->note, .code = e->code};
    if (repeats_first(a->refusals, &event, clock_monotonic_ms()))
        post_refusal(a, caller, path, e);
}

void front_audit_refused_joined(struct front_audit *a, const struct rpc_call *call, const char *path,
                                const char *about, const struct err *e)
{
    const struct audit_caller caller = caller_of(call);
    post_joined(a, &caller, path, about, e);
}

void front_audit_refusal(struct front_audit *a, const struct ipc_frame *request, const struct err *e)
{
    char path[96], about[sizeof e->note];
    snprintf(path, sizeof path, "/%s/%s", posward__hsm__v1__data_plane__descriptor.name,
             facts_method(request->method));
    /* What is refused, without the time after which it may pass: that differs each time. */
    snprintf(about, sizeof about, "%.*s", (int)strcspn(e->note, ";"), e->note);
    post_joined(a,
                &(struct audit_caller){request->identity, request->identity_len, request->traceparent,
                                       request->traceparent_len},
                path, about, e);
}

/* repeats_tell_fn */
static void record_repeats(void *context, const struct repeats_sum *sum)
{
    struct front_audit *const a = context;
    struct audit_record r = {.kind = AUDIT_REFUSAL};
    char more[REPEATS_TEXT_BYTES], note[AUDIT_TEXT_BYTES];
    repeats_text(sum, more);
    const int len = snprintf(note, sizeof note, "%s: %s", more, sum->note);
    front_audit_fill(&r, &(struct audit_caller){sum->who, strlen(sum->who), "", 0});
    snprintf(r.result, sizeof r.result, "%s", err_name(sum->code));
    audit_text(sum->what, strlen(sum->what), r.what, sizeof r.what);
    audit_text(note, (size_t)len, r.note, sizeof r.note);
    audit_writer_post(a->writer, &r, NULL, NULL);
}

/* ---- What is asked of keepers ---- */

static void take_keys(struct front *f, void *context, const struct ipc_frame *frame)
{
    (void)context;
    if (frame != NULL && frame->kind == IPC_RESPONSE)
        audit_keys_take(&f->audit->keys, f->audit->writer, frame->body, frame->body_len);
}

void front_audit_keeper_ready(struct front *f, size_t slot)
{
    const struct front_question question = {.method = audit_keys_method(), .done = take_keys};
    if (f->audit != NULL) /* a keeper that takes no packet is lost anyhow: the next one is asked */
        (void)front_ask(f, &f->keepers[slot], &question);
}

/* The key that an auditor needs lies beside the log; it is what signs, or nothing is written. */
static enum err_code take_key(struct front_audit *a, const struct audit_key *key, struct err *e)
{
    char path[1024];
    if (a->has_key && secret_equal(a->key.point, key->point, sizeof key->point))
        return ERR_OK;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", a->config->audit_path, AUDIT_KEY_FILE) >= sizeof path)
        return err_set(e, ERR_INPUT, "audit.path is too long");
    TRY(audit_key_write(key, path, e));
    a->key = *key;
    a->has_key = true;
    return ERR_OK;
}

static enum err_code take_signature(struct front_audit *a, const struct ipc_frame *frame, struct err *e)
{
    struct audit_key key;
    struct audit_record r = {
        .kind = AUDIT_CHECKPOINT, .time_ms = clock_wall_ms(), .who = "audit", .result = "OK"};
    if (frame->kind != IPC_RESPONSE)
        return ipc_failure(frame, e);
    if (frame->body_len != AUDIT_POINT_BYTES + AUDIT_SIGNATURE_BYTES)
        return err_set(e, ERR_INTERNAL, "a keeper gave a signature of %zu bytes", frame->body_len);
    memcpy(key.point, frame->body, sizeof key.point);
    TRY(audit_checkpoint_check(&key, &a->signing_head, frame->body + AUDIT_POINT_BYTES, e));
    TRY(take_key(a, &key, e));
    snprintf(r.what, sizeof r.what, "signed");
    snprintf(r.key, sizeof r.key, "audit/ec-p256");
    snprintf(r.grade, sizeof r.grade, "IN_TOKEN");
    audit_checkpoint_note(&a->signing_head, frame->body + AUDIT_POINT_BYTES, r.note);
    audit_writer_post(a->writer, &r, NULL, NULL);
    return ERR_OK;
}

static void end_signing(struct front *f, void *context, const struct ipc_frame *frame)
{
    struct front_audit *const a = f->audit;
    struct err e = {0};
    (void)context;
    a->signing = false;
    if (frame == NULL) {
        atomic_store(&a->force, true); /* another keeper */
        return;
    }
    const bool could = a->can_sign;
    a->can_sign = take_signature(a, frame, &e) == ERR_OK;
    if (a->can_sign)
        return;
    atomic_store(&a->force, true);
    if (could)
        log_failure(LOG_ERROR, "the audit log is not signed", &e);
}

void front_audit_tick(struct front *f, int64_t now_ms)
{
    struct front_audit *const a = f->audit;
    if (a == NULL)
        return;
    repeats_tell_due(a->refusals, now_ms);
    if (a->signing || f->ready == 0)
        return;
    const struct audit_counts counts = audit_writer_counts(a->writer);
    const bool due = counts.unsigned_records >= (uint64_t)a->config->audit_checkpoint_records ||
                     now_ms - a->signed_ms >= a->config->audit_checkpoint_seconds * 1000;
    if (counts.files != a->files_seen)
        atomic_store(&a->force, true);
    if (counts.unsigned_records == 0 || (!due && !atomic_load(&a->force)) || counts.head.seq == 0)
        return;
    if (!a->can_sign && now_ms - a->signed_ms < 1000) /* after a failure, not at every tick */
        return;
    uint8_t digest[AUDIT_HASH_BYTES];
    audit_checkpoint_digest(&counts.head, digest);
    a->files_seen = counts.files;
    a->signing_head = counts.head;
    a->signed_ms = now_ms;
    atomic_store(&a->force, false);
    const struct front_question question = {.method = IPC_METHOD(IPC_INTERNAL, IPC_SIGN_CHECKPOINT),
                                            .body = digest,
                                            .len = sizeof digest,
                                            .done = end_signing};
    struct front_keeper *const k = front_least_loaded(f, NULL); /* not on a token that is away */
    a->signing = k != NULL && front_ask(f, k, &question);
}

/* ---- Start and end ---- */

enum err_code front_audit_open(const struct hsm_config *c, struct front_audit **out_audit, struct err *e)
{
    *out_audit = NULL;
    if (c->audit_path == NULL || c->audit_path[0] == '\0') {
        log_event(LOG_WARN, "there is no audit log: audit.path is empty");
        return ERR_OK;
    }
    const struct audit_store_options options = {.dir = c->audit_path, .rotate_bytes = c->audit_rotate_bytes};
    struct audit_store *store = NULL;
    struct front_audit *const a = calloc(1, sizeof *a);
    if (a == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the audit log");
    enum err_code code = audit_store_open(&options, &store, e);
    if (code == ERR_OK)
        code = audit_writer_start(store, &a->writer, e);
    if (code == ERR_OK)
        code = repeats_new(JOINED_MS, record_repeats, a, &a->refusals, e);
    if (code != ERR_OK) {
        audit_writer_stop(a->writer);
        free(a);
        return code;
    }
    a->config = c;
    a->can_sign = true;
    front_audit_set_uses(a);
    atomic_init(&a->force, true);
    char note[128];
    snprintf(note, sizeof note, "version=%s pid=%d exposure=%s pin=%s mac=%s data=%s", POSWARD_VERSION,
             (int)getpid(), c->exposure, hsm_config_use(c, c->audit_use_pin),
             hsm_config_use(c, c->audit_use_mac), hsm_config_use(c, c->audit_use_data));
    front_audit_event(a, AUDIT_SERVICE, "start", NULL, note);
    *out_audit = a;
    return ERR_OK;
}

void front_audit_close(struct front_audit *a)
{
    if (a == NULL)
        return;
    repeats_tell_all(a->refusals, clock_monotonic_ms());
    audit_writer_stop(a->writer);
    repeats_free(a->refusals);
    audit_keys_drop(&a->keys);
    free(a);
}

void front_audit_finish(struct front *f)
{
    struct front_audit *const a = f->audit;
    if (a == NULL)
        return;
    repeats_tell_all(a->refusals, clock_monotonic_ms());
    front_audit_event(a, AUDIT_SERVICE, "stop", NULL, "");
    audit_writer_flush(a->writer, FINISH_MS);
    const int64_t until_ms = clock_monotonic_ms() + FINISH_MS;
    atomic_store(&a->force, true);
    pthread_mutex_lock(&f->lock);
    a->can_sign = true; /* once more, whatever was in the way before */
    pthread_mutex_unlock(&f->lock);
    while (f->loop_runs && clock_monotonic_ms() < until_ms) {
        pthread_mutex_lock(&f->lock);
        const bool possible = f->ready > 0 && a->can_sign;
        pthread_mutex_unlock(&f->lock);
        if (!possible || audit_writer_counts(a->writer).unsigned_records == 0)
            break;
        clock_sleep_ms(5);
    }
}

void front_audit_metrics(struct front_audit *a, struct prometheus *page)
{
    if (a == NULL)
        return;
    const struct audit_counts counts = audit_writer_counts(a->writer);
    const struct prometheus_row rows[] = {
        {"posward_audit_lag_records", PROMETHEUS_GAUGE, "Audit records that wait to be written.",
         counts.waiting},
        {"posward_audit_records_total", PROMETHEUS_COUNTER, "Audit records on the disk.", counts.written},
        {"posward_audit_checkpoints_total", PROMETHEUS_COUNTER, "Checkpoints that the token signed.",
         counts.checkpoints},
        {"posward_audit_unsigned_records", PROMETHEUS_GAUGE,
         "Audit records after the last one that the token signed.", counts.unsigned_records},
        {"posward_audit_writable", PROMETHEUS_GAUGE,
         "Whether the audit log can be written: 0 stops operations that make keys.",
         audit_writer_healthy(a->writer)},
        {"posward_audit_seq", PROMETHEUS_GAUGE,
         "Number of the last audit record on the disk: a smaller one than before means a cut log.",
         counts.head.seq},
        {"posward_audit_lost_records_total", PROMETHEUS_COUNTER, "Audit records that had no room.",
         counts.lost},
        {"posward_audit_write_failures_total", PROMETHEUS_COUNTER,
         "Times that the audit log could not be written.", counts.failures},
    };
    prometheus_rows(page, rows, sizeof rows / sizeof rows[0]);
    prometheus_family(page, "posward_audit_lag_seconds", PROMETHEUS_GAUGE,
                      "How long the oldest audit record waits to be written.");
    prometheus_number(page, NULL, (double)counts.waiting_ms / 1000.0);
    prometheus_family(
        page, "posward_audit_unsigned_seconds", PROMETHEUS_GAUGE,
        "How long the oldest audit record has been there without the token's signature after it.");
    prometheus_number(page, NULL, (double)counts.unsigned_ms / 1000.0);
}
