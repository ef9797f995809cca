#include "issuer/registration.h"

#include <posward/posv/v1/posv.pb-c.h>
#include <string.h>

typedef Posward__Posv__V1__Device Device;

static enum err_code call_posv(const struct issue_parts *parts, const char *method, bool idempotent,
                               const ProtobufCMessage *request, Device **out_device, struct err *e)
{
    const struct rpc_call_options options = {.timeout_ms = parts->timeout_ms, .idempotent = idempotent};
    ProtobufCMessage *response = NULL;
    if (rpc_unary(parts->posv, &posward__posv__v1__registry__descriptor, method, request, &options, &response,
                  e) != ERR_OK)
        return err_context(e, "POSV");
    *out_device = (Device *)response;
    return ERR_OK;
}

static void device_free(Device *device)
{
    if (device != NULL)
        protobuf_c_message_free_unpacked(&device->base, NULL);
}

/* *out_device NULL when there is none. */
static enum err_code find_device(const struct issue_parts *parts, const char *terminal_id,
                                 const char *psam_number, Device **out_device, struct err *e)
{
    Posward__Posv__V1__GetDeviceRequest request = POSWARD__POSV__V1__GET_DEVICE_REQUEST__INIT;
    if (terminal_id != NULL)
        request.terminal_id = (char *)terminal_id;
    if (psam_number != NULL)
        request.psam_number = (char *)psam_number;
    Device *device = NULL;
    const enum err_code code = call_posv(parts, "GetDevice", true, &request.base, &device, e);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return code;
    *out_device = device;
    return ERR_OK;
}

/* Numbers of cards are one when they differ in leading zeros only. */
static bool same_number(const char *a, const char *b)
{
    return strcmp(a + strspn(a, "0"), b + strspn(b, "0")) == 0;
}

static enum err_code check_terminal(const struct issue_order *order, const Device *device,
                                    const char *psam_number, struct err *e)
{
    if (device == NULL)
        return ERR_OK;
    if (device->state == POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_RETIRED)
        return err_set(e, ERR_EXISTS, "terminal %s was retired for good", order->terminal_id);
    if (!same_number(device->psam_number, psam_number))
        return err_set(e, ERR_EXISTS,
                       "terminal %s has card %s: issue this card without --terminal-id, then "
                       "'posward device replace-card'",
                       order->terminal_id, device->psam_number);
    if (strcmp(device->merchant_id, order->merchant_id) != 0)
        return err_set(e, ERR_EXISTS, "terminal %s belongs to merchant %s, not %s", order->terminal_id,
                       device->merchant_id, order->merchant_id);
    return ERR_OK;
}

enum err_code registration_check(const struct issue_order *order, const struct issue_parts *parts,
                                 const char *psam_number, struct err *e)
{
    Device *device = NULL;
    TRY(find_device(parts, order->terminal_id, NULL, &device, e));
    enum err_code code = check_terminal(order, device, psam_number, e);
    device_free(device);
    if (code != ERR_OK)
        return code;
    device = NULL;
    TRY(find_device(parts, NULL, psam_number, &device, e));
    if (device != NULL && strcmp(device->terminal_id, order->terminal_id) != 0)
        code = err_set(e, ERR_EXISTS, "card %s is in terminal %s: retire that one or replace its card first",
                       psam_number, device->terminal_id);
    device_free(device);
    return code;
}

static enum err_code register_new(const struct issue_order *order, const struct issue_parts *parts,
                                  const struct issue_result *result, Device **out_device, struct err *e)
{
    Posward__Posv__V1__RegisterDeviceRequest request = POSWARD__POSV__V1__REGISTER_DEVICE_REQUEST__INIT;
    request.terminal_id = (char *)order->terminal_id;
    request.merchant_id = (char *)order->merchant_id;
    request.psam_number = (char *)result->psam_number;
    request.suite = order->suite;
    request.master_version = result->master_version;
    request.wrap_version = result->wrap_version;
    return call_posv(parts, "RegisterDevice", false, &request.base, out_device, e);
}

/* 0, from a POSV of before, is 1. */
static uint32_t wrap_version_of(const Device *device)
{
    return device->wrap_version == 0 ? 1 : device->wrap_version;
}

static bool same_key(const struct issue_order *order, const struct issue_result *result, const Device *device)
{
    return device->suite == order->suite && device->master_version == result->master_version &&
           wrap_version_of(device) == result->wrap_version;
}

/* The card was there before and has a key of another suite or version now. */
static enum err_code update_card(const struct issue_order *order, const struct issue_parts *parts,
                                 const struct issue_result *result, Device **out_device, struct err *e)
{
    Posward__Posv__V1__ReplaceCardRequest request = POSWARD__POSV__V1__REPLACE_CARD_REQUEST__INIT;
    request.terminal_id = (char *)order->terminal_id;
    request.psam_number = (char *)result->psam_number;
    request.suite = order->suite;
    request.master_version = result->master_version;
    request.wrap_version = result->wrap_version;
    request.reason = (char *)"the card was issued again";
    return call_posv(parts, "ReplaceCard", false, &request.base, out_device, e);
}

enum err_code registration_make(const struct issue_order *order, const struct issue_parts *parts,
                                struct issue_result *result, struct err *e)
{
    Device *old = NULL, *device = NULL;
    TRY(find_device(parts, order->terminal_id, NULL, &old, e));
    enum err_code code = check_terminal(order, old, result->psam_number, e);
    enum issue_registration registration = ISSUE_WAS_REGISTERED;
    if (code == ERR_OK && old == NULL) {
        registration = ISSUE_REGISTERED;
        code = register_new(order, parts, result, &device, e);
    } else if (code == ERR_OK && !same_key(order, result, old)) {
        registration = ISSUE_UPDATED;
        code = update_card(order, parts, result, &device, e);
    }
    const Device *now = device != NULL ? device : old;
    if (code == ERR_OK && now == NULL)
        code = err_set(e, ERR_INTERNAL, "the registry answered without a device");
    if (code == ERR_OK && wrap_version_of(now) != result->wrap_version)
        code =
            err_set(e, ERR_UNSUPPORTED,
                    "POSV registered wrap version %u, not %u: update POSV, then run the same command again",
                    wrap_version_of(now), result->wrap_version);
    if (code == ERR_OK) {
        result->registration = registration;
        result->revision = now->revision;
    }
    device_free(old);
    device_free(device);
    return code;
}
