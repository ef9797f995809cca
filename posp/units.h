/* Business units and the routes to them (posward.business.v1). Any thread. */
#ifndef POSWARD_POSP_UNITS_H
#define POSWARD_POSP_UNITS_H

#include "posp/config.h"
#include "posward/business/v1/business.pb-c.h"
#include "posward/hsm/v1/hsm.pb-c.h"

struct units;

struct route {
    const char *prefix;
    const char *unit;
    const char *zone;
    uint32_t zone_version;
    Posward__Types__V1__Suite aes_suite;    /* of the zone's AES key */
    Posward__Hsm__V1__PinFormat pin_format; /* unspecified: as the terminal's */
};

/* How a PIN block goes to a unit. */
struct pin_target {
    Posward__Hsm__V1__PinFormat format;
    Posward__Business__V1__PinBlockFormat unit_format; /* the same in the unit's words */
    Posward__Types__V1__Suite suite;                   /* of the zone key */
};
struct pin_target units_pin_target(const struct route *route, Posward__Hsm__V1__PinFormat terminal_format);

/* `config` is borrowed until units_free. */
enum err_code units_open(const struct posp_config *config, struct units **out_units,
                         struct err *e) MUST_CHECK;
/* Accepts NULL. */
void units_free(struct units *units);

/* The route of a card number for purchases: the longest prefix. NULL: none. */
const struct route *units_route(const struct units *units, const char *pan);

/* *out_response is freed with ..._free_unpacked. ERR_UNAVAILABLE and ERR_TIMEOUT say nothing of the outcome.
 * A unit that has answered nothing for a second, while three quarters of the workers wait for it, gets no
 * more: ERR_UNAVAILABLE. */
enum err_code units_authorize(struct units *units, const char *unit,
                              const Posward__Business__V1__AuthorizeRequest *request,
                              Posward__Business__V1__AuthorizeResponse **out_response,
                              struct err *e) MUST_CHECK;
/* The unit has undone it, or will never do it. */
enum err_code units_reverse(struct units *units, const char *unit,
                            const Posward__Business__V1__ReverseRequest *request, bool *out_undone,
                            struct err *e) MUST_CHECK;

#endif
