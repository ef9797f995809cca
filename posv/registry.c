#include "posv/registry.h"

#include "base/clock.h"
#include "base/log.h"
#include "posv/page_token.h"
#include "rpc/server.h"

#include <posward/posv/v1/posv.pb-c.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_DEVICES_DEFAULT 100
#define PAGE_DEVICES_MOST    1000

typedef Posward__Posv__V1__Registry_Service Service;
typedef Posward__Posv__V1__Device DeviceMessage;

struct registry {
    Service service; /* first: handlers get a pointer to it */
    struct store *store;
    struct changes *changes;
    int64_t start_ms;
};

static struct registry *registry_of(Service *service)
{
    return (struct registry *)service;
}

/* Strings stay `device`'s. */
static DeviceMessage message_of(const struct device *device)
{
    DeviceMessage m = POSWARD__POSV__V1__DEVICE__INIT;
    m.terminal_id = (char *)device->terminal_id;
    m.merchant_id = (char *)device->merchant_id;
    m.psam_number = (char *)device->psam_number;
    m.suite = (Posward__Types__V1__Suite)device->suite;
    m.master_version = (uint32_t)device->master_version;
    m.state = (Posward__Posv__V1__DeviceState)device->state;
    m.revision = device->revision;
    m.created_ms = device->created_ms;
    m.updated_ms = device->updated_ms;
    m.reason = (char *)device->reason;
    m.wrap_version = (uint32_t)device->wrap_version;
    return m;
}

static const char *const action_events[] = {
    [DEVICE_REGISTER] = "device registered", [DEVICE_REPLACE_CARD] = "card replaced",
    [DEVICE_SUSPEND] = "device suspended",   [DEVICE_RESUME] = "device resumed",
    [DEVICE_RETIRE] = "device retired",
};

static enum err_code change(struct registry *r, const struct device_request *request,
                            struct device *out_device, struct err *e)
{
    TRY(device_check(request, e));
    TRY(store_change(r->store, request, out_device, e));
    changes_notify(r->changes, out_device->revision);
    return ERR_OK;
}

static void answer_change(Service *service, const struct device_request *request,
                          Posward__Posv__V1__Device_Closure closure, void *call)
{
    struct device device;
    struct err e = {0};
    const char *identity = rpc_call_peer(rpc_call_of(call))->identity;
    if (change(registry_of(service), request, &device, &e) != ERR_OK) {
        log_failure(LOG_WARN, "change refused", &e, LOG_STR("action", action_events[request->action]),
                    LOG_STR("terminal", request->terminal_id), LOG_STR("by", identity));
        rpc_call_fail(rpc_call_of(call), &e);
        return;
    }
    log_event(LOG_INFO, action_events[request->action], LOG_STR("terminal", device.terminal_id),
              LOG_STR("psam", device.psam_number), LOG_INT("revision", device.revision),
              LOG_STR("by", identity));
    const DeviceMessage message = message_of(&device);
    closure(&message, call);
}

static void registry__register_device(Service *service, const Posward__Posv__V1__RegisterDeviceRequest *input,
                                      Posward__Posv__V1__Device_Closure closure, void *call)
{
    const struct device_request request = {.action = DEVICE_REGISTER,
                                           .terminal_id = input->terminal_id,
                                           .merchant_id = input->merchant_id,
                                           .psam_number = input->psam_number,
                                           .reason = "",
                                           .suite = input->suite,
                                           .master_version = input->master_version,
                                           .wrap_version = input->wrap_version};
    answer_change(service, &request, closure, call);
}

static void registry__replace_card(Service *service, const Posward__Posv__V1__ReplaceCardRequest *input,
                                   Posward__Posv__V1__Device_Closure closure, void *call)
{
    const struct device_request request = {.action = DEVICE_REPLACE_CARD,
                                           .terminal_id = input->terminal_id,
                                           .merchant_id = "",
                                           .psam_number = input->psam_number,
                                           .reason = input->reason,
                                           .suite = input->suite,
                                           .master_version = input->master_version,
                                           .wrap_version = input->wrap_version};
    answer_change(service, &request, closure, call);
}

static struct device_request state_request(enum device_action action, const char *terminal_id,
                                           const char *reason)
{
    return (struct device_request){
        .action = action, .terminal_id = terminal_id, .merchant_id = "", .psam_number = "", .reason = reason};
}

static void registry__suspend_device(Service *service, const Posward__Posv__V1__SuspendDeviceRequest *input,
                                     Posward__Posv__V1__Device_Closure closure, void *call)
{
    const struct device_request request = state_request(DEVICE_SUSPEND, input->terminal_id, input->reason);
    answer_change(service, &request, closure, call);
}

static void registry__resume_device(Service *service, const Posward__Posv__V1__ResumeDeviceRequest *input,
                                    Posward__Posv__V1__Device_Closure closure, void *call)
{
    const struct device_request request = state_request(DEVICE_RESUME, input->terminal_id, input->reason);
    answer_change(service, &request, closure, call);
}

static void registry__retire_device(Service *service, const Posward__Posv__V1__RetireDeviceRequest *input,
                                    Posward__Posv__V1__Device_Closure closure, void *call)
{
    const struct device_request request = state_request(DEVICE_RETIRE, input->terminal_id, input->reason);
    answer_change(service, &request, closure, call);
}

static enum err_code get(struct registry *r, const Posward__Posv__V1__GetDeviceRequest *input,
                         struct device *out_device, struct err *e)
{
    const bool by_terminal = input->terminal_id[0] != '\0', by_card = input->psam_number[0] != '\0';
    if (by_terminal == by_card)
        return err_set(e, ERR_INPUT, "give exactly one of terminal_id and psam_number, got %s",
                       by_terminal ? "both" : "none");
    if (by_terminal) {
        TRY(device_check_terminal(input->terminal_id, e));
        return store_get(r->store, input->terminal_id, out_device, e);
    }
    TRY(device_check_psam(input->psam_number, e));
    return store_get_by_card(r->store, input->psam_number, out_device, e);
}

static void registry__get_device(Service *service, const Posward__Posv__V1__GetDeviceRequest *input,
                                 Posward__Posv__V1__Device_Closure closure, void *call)
{
    struct device device;
    struct err e = {0};
    if (get(registry_of(service), input, &device, &e) != ERR_OK) {
        rpc_call_fail(rpc_call_of(call), &e);
        return;
    }
    const DeviceMessage message = message_of(&device);
    closure(&message, call);
}

static enum err_code check_filter(const struct store_filter *filter, struct err *e)
{
    if (filter->state < 0 || filter->state > DEVICE_STATE_MOST)
        return err_set(e, ERR_INPUT, "state must be ACTIVE, SUSPENDED or RETIRED, got number %d",
                       filter->state);
    if (filter->suite != 0)
        TRY(device_check_suite(filter->suite, e));
    if (filter->merchant_id[0] != '\0')
        TRY(device_check_merchant(filter->merchant_id, e));
    return device_check_terminal_prefix(filter->terminal_prefix, e);
}

/* Answer with the first `count` of `devices`; `more` tells that there are others behind them. */
static enum err_code answer_list(const struct store_filter *filter, const struct device *devices,
                                 size_t count, bool more,
                                 Posward__Posv__V1__ListDevicesResponse_Closure closure, void *call,
                                 struct err *e)
{
    Posward__Posv__V1__ListDevicesResponse response = POSWARD__POSV__V1__LIST_DEVICES_RESPONSE__INIT;
    DeviceMessage *messages = calloc(count + 1, sizeof *messages);
    DeviceMessage **pointers = calloc(count + 1, sizeof(DeviceMessage *));
    char token[PAGE_TOKEN_CHARS + 1] = "";
    enum err_code code = ERR_OK;
    if (messages == NULL || pointers == NULL) {
        code = err_set(e, ERR_LIMIT, "out of memory");
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        messages[i] = message_of(&devices[i]);
        pointers[i] = &messages[i];
    }
    if (more)
        page_token_make(filter, devices[count - 1].terminal_id, token);
    response.n_devices = count;
    response.devices = pointers;
    response.next_page_token = token;
    closure(&response, call);
out:
    free(pointers);
    free(messages);
    return code;
}

static enum err_code list(struct registry *r, const Posward__Posv__V1__ListDevicesRequest *input,
                          Posward__Posv__V1__ListDevicesResponse_Closure closure, void *call, struct err *e)
{
    const struct store_filter filter = {.state = (int)input->state,
                                        .suite = (int)input->suite,
                                        .merchant_id = input->merchant_id,
                                        .terminal_prefix = input->terminal_prefix};
    if (input->page_size > PAGE_DEVICES_MOST)
        return err_set(e, ERR_INPUT, "page_size must be at most %d, got %u", PAGE_DEVICES_MOST,
                       input->page_size);
    TRY(check_filter(&filter, e));
    char after[TERMINAL_ID_CHARS + 1];
    TRY(page_token_read(&filter, input->page_token, after, e));
    const size_t size = input->page_size > 0 ? input->page_size : PAGE_DEVICES_DEFAULT;
    struct device *devices = calloc(size + 1, sizeof *devices); /* one more tells whether a page follows */
    if (devices == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    size_t count = 0;
    enum err_code code = store_list(r->store, &filter, after, size + 1, devices, &count, e);
    if (code == ERR_OK)
        code = answer_list(&filter, devices, count > size ? size : count, count > size, closure, call, e);
    free(devices);
    return code;
}

static void registry__list_devices(Service *service, const Posward__Posv__V1__ListDevicesRequest *input,
                                   Posward__Posv__V1__ListDevicesResponse_Closure closure, void *call)
{
    struct err e = {0};
    if (list(registry_of(service), input, closure, call, &e) != ERR_OK)
        rpc_call_fail(rpc_call_of(call), &e);
}

struct watcher {
    uint32_t heartbeat_ms;
    Posward__Posv__V1__DeviceChange_Closure closure;
    void *call;
};

static void watcher_send(void *context, int64_t revision, const struct device *device)
{
    const struct watcher *w = context;
    Posward__Posv__V1__DeviceChange change_message = POSWARD__POSV__V1__DEVICE_CHANGE__INIT;
    Posward__Posv__V1__Heartbeat heartbeat = POSWARD__POSV__V1__HEARTBEAT__INIT;
    DeviceMessage message;
    change_message.revision = revision;
    if (device != NULL) {
        message = message_of(device);
        change_message.device = &message;
    } else {
        heartbeat.interval_ms = w->heartbeat_ms;
        change_message.heartbeat = &heartbeat;
    }
    w->closure(&change_message, w->call);
}

static bool watcher_gone(void *context)
{
    const struct watcher *w = context;
    return rpc_call_cancelled(rpc_call_of(w->call));
}

static void registry__watch_devices(Service *service, const Posward__Posv__V1__WatchDevicesRequest *input,
                                    Posward__Posv__V1__DeviceChange_Closure closure, void *call)
{
    struct changes *const changes = registry_of(service)->changes;
    struct watcher watcher = {(uint32_t)changes_heartbeat_ms(changes), closure, call};
    const struct changes_sink sink = {&watcher, watcher_send, watcher_gone};
    struct err e = {0};
    if (changes_follow(changes, input->from_revision, &sink, &e) != ERR_OK)
        rpc_call_fail(rpc_call_of(call), &e);
}

static void registry__get_status(Service *service, const Posward__Posv__V1__GetStatusRequest *input,
                                 Posward__Posv__V1__GetStatusResponse_Closure closure, void *call)
{
    (void)input;
    struct registry *r = registry_of(service);
    struct store_totals totals;
    struct err e = {0};
    if (store_totals(r->store, &totals, &e) != ERR_OK) {
        rpc_call_fail(rpc_call_of(call), &e);
        return;
    }
    Posward__Posv__V1__GetStatusResponse response = POSWARD__POSV__V1__GET_STATUS_RESPONSE__INIT;
    response.version = (char *)POSWARD_VERSION;
    response.uptime_s = (clock_monotonic_ms() - r->start_ms) / 1000;
    response.revision = totals.revision;
    response.devices_active = totals.by_state[DEVICE_ACTIVE];
    response.devices_suspended = totals.by_state[DEVICE_SUSPENDED];
    response.devices_retired = totals.by_state[DEVICE_RETIRED];
    response.watchers = changes_followers(r->changes);
    closure(&response, call);
}

enum err_code registry_new(struct store *store, struct changes *changes, struct registry **out_registry,
                           struct err *e)
{
    static const Service service = POSWARD__POSV__V1__REGISTRY__INIT(registry__);
    struct registry *r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    r->service = service;
    r->store = store;
    r->changes = changes;
    r->start_ms = clock_monotonic_ms();
    *out_registry = r;
    return ERR_OK;
}

ProtobufCService *registry_service(struct registry *r)
{
    return &r->service.base;
}

void registry_free(struct registry *r)
{
    free(r);
}
