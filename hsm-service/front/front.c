#include "hsm-service/front/front.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/wait.h"
#include "hsm-service/front/state.h"
#include "hsm-service/gate/permit.h"
#include "hsm-service/harden.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ECHO_BYTES     65536 /* largest payload of Echo */
#define FIRST_START_MS 15000 /* front_serve waits so long for the first keeper */

typedef Posward__Hsm__V1__EchoRequest EchoRequest;
typedef Posward__Hsm__V1__EchoResponse EchoResponse;
typedef Posward__Hsm__V1__GetStatusResponse GetStatusResponse;
typedef Posward__Hsm__V1__ReportKeyUseRequest ReportKeyUseRequest;

static void finish_packed(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct err e = {0};
    const size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *const bytes = malloc(len + 1); /* an empty message packs to nothing */
    if (bytes == NULL) {
        (void)err_set(&e, ERR_LIMIT, "no memory for the answer");
        rpc_call_fail(call, &e);
        return;
    }
    protobuf_c_message_pack(message, bytes);
    rpc_call_finish(call, bytes, len);
    free(bytes);
}

static void fail(struct rpc_call *call, const char *note)
{
    struct err e = {0};
    (void)err_set(&e, ERR_INPUT, "%s", note);
    rpc_call_fail(call, &e);
}

static void answer_echo(struct front *f, struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)f;
    EchoRequest *const request = posward__hsm__v1__echo_request__unpack(NULL, len, bytes);
    if (request == NULL) {
        fail(call, "the message is not a posward.hsm.v1.EchoRequest");
        return;
    }
    EchoResponse response = POSWARD__HSM__V1__ECHO_RESPONSE__INIT;
    response.payload = request->payload;
    if (request->payload.len > ECHO_BYTES)
        fail(call, "payload has more than 65536 bytes");
    else
        finish_packed(call, &response.base);
    posward__hsm__v1__echo_request__free_unpacked(request, NULL);
}

static void answer_status(struct front *f, struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    char version[] = POSWARD_VERSION;
    GetStatusResponse status = POSWARD__HSM__V1__GET_STATUS_RESPONSE__INIT;
    for (int plane = 0; plane < FRONT_PLANES; plane++) {
        const struct rpc_server_counts counts = rpc_server_counts(f->servers[plane]);
        status.calls_ok += counts.ok;
        status.calls_failed += counts.failed;
        status.in_flight += counts.in_flight;
    }
    status.version = version;
    status.uptime_s = (clock_monotonic_ms() - f->start_ms) / 1000;
    status.keepers_wanted = (uint32_t)(f->config->keeper_count * (int64_t)f->pool.count);
    pthread_mutex_lock(&f->lock);
    status.keepers = f->ready;
    status.keeper_restarts = f->restarts;
    pthread_mutex_unlock(&f->lock);
    finish_packed(call, &status.base);
}

static enum err_code may_report(struct front *f, const struct rpc_call *call, struct err *e)
{
    const enum err_code code =
        permit_method(f->roles, rpc_call_peer(call)->identity, RIGHTS_REPORT_KEY_USE, e);
    if (code != ERR_OK)
        front_audit_refused_joined(f->audit, call, "/posward.hsm.v1.DataPlane/ReportKeyUse", NULL, e);
    return code;
}

static void answer_key_use(struct front *f, struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    const Posward__Hsm__V1__ReportKeyUseResponse response = POSWARD__HSM__V1__REPORT_KEY_USE_RESPONSE__INIT;
    ReportKeyUseRequest *const request = posward__hsm__v1__report_key_use_request__unpack(NULL, len, bytes);
    struct err e = {0};
    if (request == NULL)
        fail(call, "the message is not a posward.hsm.v1.ReportKeyUseRequest");
    else if (may_report(f, call, &e) != ERR_OK ||
             manage_report_key_use(f->manage, call, request, &e) != ERR_OK)
        rpc_call_fail(call, &e);
    else
        finish_packed(call, &response.base);
    posward__hsm__v1__report_key_use_request__free_unpacked(request, NULL);
}

/* What the front answers by itself; all else goes to a keeper. */
static const struct own_method {
    const ProtobufCServiceDescriptor *service;
    const char *name;
    void (*answer)(struct front *f, struct rpc_call *call, const uint8_t *bytes, size_t len);
    bool may_block;
} own_methods[] = {
    {&posward__hsm__v1__data_plane__descriptor, "Echo", answer_echo},
    {&posward__hsm__v1__data_plane__descriptor, "ReportKeyUse", answer_key_use, .may_block = true},
    {&posward__hsm__v1__data_plane__descriptor, "GetStatus", answer_status},
    {&posward__hsm__v1__control__descriptor, "GetStatus", answer_status},
};

static const struct own_method *find_own(const ProtobufCServiceDescriptor *service, unsigned index)
{
    for (size_t i = 0; i < sizeof own_methods / sizeof own_methods[0]; i++)
        if (own_methods[i].service == service &&
            strcmp(own_methods[i].name, service->methods[index].name) == 0)
            return &own_methods[i];
    return NULL;
}

static void take_data(void *context, struct rpc_call *call, unsigned index, const uint8_t *bytes, size_t len)
{
    const struct own_method *const own = find_own(&posward__hsm__v1__data_plane__descriptor, index);
    if (own != NULL)
        own->answer(context, call, bytes, len);
    else
        front_take(context, call, IPC_METHOD(IPC_DATA_PLANE, index), bytes, len);
}

static void take_control(void *context, struct rpc_call *call, unsigned index, const uint8_t *bytes,
                         size_t len)
{
    const struct own_method *const own = find_own(&posward__hsm__v1__control__descriptor, index);
    if (own != NULL)
        own->answer(context, call, bytes, len);
    else
        front_take(context, call, IPC_METHOD(IPC_CONTROL, index), bytes, len);
}

static enum err_code add_service(struct front *f, enum front_plane plane,
                                 const ProtobufCServiceDescriptor *service, rpc_raw_fn take, struct err *e)
{
    TRY(rpc_server_add_raw(f->servers[plane], service, take, f, e));
    for (size_t i = 0; i < sizeof own_methods / sizeof own_methods[0]; i++)
        if (own_methods[i].service == service && own_methods[i].may_block)
            TRY(rpc_server_raw_may_block(f->servers[plane], service, own_methods[i].name, e));
    return ERR_OK;
}

static enum err_code add_services(struct front *f, struct err *e)
{
    TRY(add_service(f, FRONT_DATA, &posward__hsm__v1__data_plane__descriptor, take_data, e));
    TRY(add_service(f, FRONT_CONTROL, &posward__hsm__v1__control__descriptor, take_control, e));
    return manage_new(f, f->servers[FRONT_CONTROL], &f->manage, e);
}

static struct front *make_front(const struct hsm_config *config, struct rpc_server *const *servers)
{
    struct front *const f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->config = config;
    f->servers = servers;
    front_pool_init(&f->pool, config);
    f->start_ms = clock_monotonic_ms();
    f->wake_fd = -1;
    f->window = 2 * (unsigned)config->keeper_sessions; /* one at work and one at hand for each session */
    atomic_init(&f->next_id, 1);
    TAILQ_INIT(&f->waiting);
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        TAILQ_INIT(&f->keepers[i].calls);
    wait_cond_init(&f->changed);
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

/* What is allowed for the sake of an estate as it is, and should not stay. */
static void warn_of_policy(const struct hsm_config *config)
{
    int64_t form1_until_ms = 0;
    struct err e = {0};
    const bool form1 =
        config->blob_form1_until[0] != '\0' && hsm_config_form1_until(config, &form1_until_ms, &e) == ERR_OK;
    if (form1 && clock_wall_ms() >= form1_until_ms)
        log_event(LOG_WARN, "key blobs of form 1 are refused, for policy.blob_form1_until is past; remove it",
                  LOG_STR("date", config->blob_form1_until));
    else if (form1)
        log_event(LOG_WARN, "key blobs of form 1 serve until the end of policy.blob_form1_until, UTC",
                  LOG_STR("date", config->blob_form1_until));
    if (config->tdes_mak_bytes_min == HSM_MAK_SINGLE)
        log_event(LOG_WARN,
                  "MAC keys of terminals may be single DES: policy.tdes_mak_bytes_min is 8; set 16 once no "
                  "terminal signs in with layout 003");
}

enum err_code front_start(const void *config, struct rpc_server *const *servers, void **out_front,
                          struct err *e)
{
    TRY(harden_dumps(e)); /* deciphered tracks pass through */
    struct front *const f = make_front(config, servers);
    if (f == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the front");
    enum err_code code = front_audit_open(config, &f->audit, e);
    if (code == ERR_OK)
        code = admit_new(config, &f->admit, e);
    if (code == ERR_OK)
        code = front_operations_new(&f->kinds, e);
    if (code == ERR_OK)
        code = add_services(f, e);
    if (code == ERR_OK)
        code = front_loop_start(f, e);
    if (code == ERR_OK)
        code = manage_start(f->manage, e);
    if (code != ERR_OK) {
        front_stop(f);
        return code;
    }
    warn_of_policy(config);
    *out_front = f;
    return ERR_OK;
}

void front_granted(void *front, struct roles *roles)
{
    struct front *const f = front;
    f->roles = roles;
    manage_granted(f->manage, roles);
}

enum err_code front_serve(void *front, struct rpc_server *server, struct err *e)
{
    (void)server;
    struct front *const f = front;
    const struct timespec end = wait_end(FIRST_START_MS);
    pthread_mutex_lock(&f->lock);
    for (bool in_time = true; in_time && f->ready == 0 && !front_pool_failed(&f->pool);)
        in_time = wait_until(&f->changed, &f->lock, &end);
    const enum err_code code = f->ready == 0 ? front_pool_never(&f->pool, e) : ERR_OK;
    pthread_mutex_unlock(&f->lock);
    return code; /* without a keeper the service runs, says NOT_SERVING, and goes on trying */
}

void front_drain(void *front)
{
    struct front *const f = front;
    pthread_mutex_lock(&f->lock);
    f->draining = true;
    pthread_mutex_unlock(&f->lock);
}

void front_stop(void *front)
{
    struct front *const f = front;
    if (f == NULL)
        return;
    struct front_calls failed = TAILQ_HEAD_INITIALIZER(failed);
    manage_stop(f->manage);
    front_audit_finish(f);
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    f->draining = true;
    pthread_mutex_unlock(&f->lock);
    if (f->loop_runs)
        front_wake(f);
    front_loop_join(f);
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        front_orphan(f, &f->keepers[i], 0, 0, &failed);
    front_flush(f, &failed);
    front_answer_failed(f, &failed);
    manage_free(f->manage);
    front_audit_close(f->audit);
    admit_free(f->admit);
    front_operations_free(f->kinds);
    front_pool_drop(&f->pool);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void front_metrics(void *front, struct prometheus *page)
{
    struct front *const f = front;
    unsigned waiting = 0, with_keepers = 0;
    struct front_call *call;
    pthread_mutex_lock(&f->lock);
    TAILQ_FOREACH (call, &f->waiting, link)
        waiting++;
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        with_keepers += f->keepers[i].load;
    const unsigned ready = f->ready;
    const uint64_t restarts = f->restarts, retirements = f->retirements, retried = f->retried,
                   operations = f->operations;
    pthread_mutex_unlock(&f->lock);
    const struct prometheus_row rows[] = {
        {"posward_hsm_keepers_ready", PROMETHEUS_GAUGE, "Keepers that take calls.", ready},
        {"posward_hsm_keepers_wanted", PROMETHEUS_GAUGE, "Keepers that the configuration asks for.",
         (uint64_t)f->config->keeper_count * f->pool.count},
        {"posward_hsm_keeper_restarts_total", PROMETHEUS_COUNTER,
         "Keepers that ended unasked or were killed.", restarts},
        {"posward_hsm_keeper_retirements_total", PROMETHEUS_COUNTER,
         "Keepers replaced after keepers.retire_after.", retirements},
        {"posward_hsm_calls_retried_total", PROMETHEUS_COUNTER,
         "Calls handed to another keeper when theirs ended.", retried},
        {"posward_hsm_operations_total", PROMETHEUS_COUNTER, "Operations that keepers did for calls.",
         operations},
        {"posward_hsm_calls_waiting", PROMETHEUS_GAUGE, "Calls that wait for a keeper.", waiting},
        {"posward_hsm_calls_with_keepers", PROMETHEUS_GAUGE, "Calls that a keeper has.", with_keepers},
        {"posward_hsm_tdes_mak_bytes_min", PROMETHEUS_GAUGE,
         "Bytes that a TDES terminal's MAC key has at least: policy.tdes_mak_bytes_min.",
         (uint64_t)f->config->tdes_mak_bytes_min},
    };
    prometheus_rows(page, rows, sizeof rows / sizeof rows[0]);
    front_operations_metrics(f->kinds, page);
    front_health_metrics(f, page);
    front_pool_metrics(f, page);
    front_audit_metrics(f->audit, page);
    admit_metrics(f->admit, page);
    manage_metrics(f->manage, page);
}

void front_refused(void *front, const struct rpc_call *call, const char *path, const struct err *e)
{
    const struct front *const f = front;
    front_audit_refused_joined(f->audit, call, path, NULL, e);
}
