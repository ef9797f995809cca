#include "posp/units.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HUNG_MS 1000 /* no answer for so long, while many wait */

struct unit {
    const char *name;
    struct rpc_channel *channel;
    _Atomic int64_t under_way; /* authorisations */
    _Atomic int64_t moved_ms;  /* when it last answered one, or was given the first */
};

struct units {
    struct unit *units;
    size_t unit_count;
    struct route *routes;
    size_t route_count;
    int64_t timeout_ms;
    int64_t most_under_way; /* at one unit: one that hangs must not take all workers with it */
};

#define ISO_0 POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_0
#define ISO_4 POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_4

struct pin_target units_pin_target(const struct route *route, Posward__Hsm__V1__PinFormat terminal_format)
{
    const bool unset = route->pin_format == POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_UNSPECIFIED;
    if ((unset ? terminal_format : route->pin_format) == ISO_4)
        return (struct pin_target){ISO_4, POSWARD__BUSINESS__V1__PIN_BLOCK_FORMAT__PIN_BLOCK_FORMAT_ISO_4,
                                   route->aes_suite};
    return (struct pin_target){ISO_0, POSWARD__BUSINESS__V1__PIN_BLOCK_FORMAT__PIN_BLOCK_FORMAT_ISO_0,
                               POSWARD__TYPES__V1__SUITE__SUITE_TDES};
}

static struct route route_of(const struct route_config *config)
{
    struct route route = {
        .prefix = config->prefix,
        .unit = config->unit,
        .zone = config->zone != NULL ? config->zone : config->unit,
        .zone_version = (uint32_t)config->zone_version,
        .aes_suite = strcmp(config->zone_suite, "aes256") == 0 ? POSWARD__TYPES__V1__SUITE__SUITE_AES_256
                                                               : POSWARD__TYPES__V1__SUITE__SUITE_AES_128,
    };
    if (strcmp(config->pin_format, "same") != 0)
        route.pin_format = strcmp(config->pin_format, "iso4") == 0 ? ISO_4 : ISO_0;
    return route;
}

static enum err_code connect_all(const struct posp_config *config, struct units *units, struct err *e)
{
    const struct unit_config *items = config->units.items;
    for (size_t i = 0; i < config->units.count; i++) {
        units->units[i].name = items[i].name;
        if (peer_connect(&items[i].peer, true, &units->units[i].channel, e) != ERR_OK)
            return err_context(e, "unit %.31s", items[i].name);
        units->unit_count = i + 1;
    }
    const struct route_config *routes = config->routes.items;
    for (size_t i = 0; i < config->routes.count; i++)
        units->routes[i] = route_of(&routes[i]);
    units->route_count = config->routes.count;
    return ERR_OK;
}

enum err_code units_open(const struct posp_config *config, struct units **out_units, struct err *e)
{
    struct units *units = calloc(1, sizeof *units);
    if (units == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    units->timeout_ms = config->forward_timeout_ms;
    units->most_under_way = config->terminals_workers - config->terminals_workers / 4;
    units->units = calloc(config->units.count + 1, sizeof *units->units);
    units->routes = calloc(config->routes.count + 1, sizeof *units->routes);
    enum err_code code = ERR_OK;
    if (units->units == NULL || units->routes == NULL)
        code = err_set(e, ERR_LIMIT, "out of memory");
    else
        code = connect_all(config, units, e);
    if (code != ERR_OK) {
        units_free(units);
        return code;
    }
    *out_units = units;
    return ERR_OK;
}

void units_free(struct units *units)
{
    if (units == NULL)
        return;
    for (size_t i = 0; i < units->unit_count; i++)
        rpc_channel_free(units->units[i].channel);
    free(units->units);
    free(units->routes);
    free(units);
}

const struct route *units_route(const struct units *units, const char *pan)
{
    const struct route *best = NULL;
    for (size_t i = 0; i < units->route_count; i++) {
        const struct route *r = &units->routes[i];
        if (strncmp(pan, r->prefix, strlen(r->prefix)) != 0)
            continue;
        if (best == NULL || strlen(r->prefix) > strlen(best->prefix))
            best = r;
    }
    return best;
}

static struct unit *find_unit(const struct units *units, const char *name)
{
    for (size_t i = 0; i < units->unit_count; i++)
        if (strcmp(units->units[i].name, name) == 0)
            return &units->units[i];
    return NULL;
}

static enum err_code call(struct units *units, const char *name, const char *method,
                          const ProtobufCMessage *request, ProtobufCMessage **out_response, struct err *e)
{
    const struct unit *unit = find_unit(units, name);
    if (unit == NULL)
        return err_set(e, ERR_NOT_FOUND, "unit %.31s is not configured any more", name);
    const struct rpc_call_options options = {.timeout_ms = units->timeout_ms};
    return rpc_unary(unit->channel, &posward__business__v1__business__descriptor, method, request, &options,
                     out_response, e);
}

/* Counts the caller in. */
static bool may_send(const struct units *units, struct unit *unit)
{
    const int64_t before = atomic_fetch_add(&unit->under_way, 1), now_ms = clock_monotonic_ms();
    if (before == 0)
        atomic_store(&unit->moved_ms, now_ms);
    return before < units->most_under_way || now_ms - atomic_load(&unit->moved_ms) < HUNG_MS;
}

enum err_code units_authorize(struct units *units, const char *unit,
                              const Posward__Business__V1__AuthorizeRequest *request,
                              Posward__Business__V1__AuthorizeResponse **out_response, struct err *e)
{
    ProtobufCMessage *response = NULL;
    struct unit *counted = find_unit(units, unit);
    if (counted == NULL)
        return err_set(e, ERR_NOT_FOUND, "unit %.31s is not configured any more", unit);
    enum err_code code;
    if (may_send(units, counted))
        code = call(units, unit, "Authorize", &request->base, &response, e);
    else
        code = err_set(e, ERR_UNAVAILABLE, "unit %.31s does not answer; no more is sent to it now", unit);
    if (code == ERR_OK)
        atomic_store(&counted->moved_ms, clock_monotonic_ms());
    atomic_fetch_sub(&counted->under_way, 1);
    if (code == ERR_OK)
        *out_response = (Posward__Business__V1__AuthorizeResponse *)response;
    return code;
}

enum err_code units_reverse(struct units *units, const char *unit,
                            const Posward__Business__V1__ReverseRequest *request, bool *out_undone,
                            struct err *e)
{
    ProtobufCMessage *response = NULL;
    TRY(call(units, unit, "Reverse", &request->base, &response, e));
    *out_undone = ((Posward__Business__V1__ReverseResponse *)response)->undone != 0;
    protobuf_c_message_free_unpacked(response, NULL);
    return ERR_OK;
}
