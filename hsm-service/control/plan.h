/* What a request would do to the keys that there are: checked before anybody is asked to agree, and again
 * before it is done. No store, no clock, no token. */
#ifndef POSWARD_HSM_SERVICE_CONTROL_PLAN_H
#define POSWARD_HSM_SERVICE_CONTROL_PLAN_H

#include "hsm-service/control/control.h"

/* Keys of the token, and those that were destroyed; borrowed. */
struct control_view {
    ControlKey *const *keys;
    size_t count;
    ControlKey *const *destroyed;
    size_t destroyed_count;
};

/* "zone-pin/bank/tdes/2" of a name whose version is set. */
void control_label(const ControlKeyName *name, char out_label[CONTROL_LABEL_BYTES]);
/* Role, suite, zone and version (0 where `any_version`) fit together. ERR_INPUT says what does not. */
enum err_code control_check_name(const ControlKeyName *name, bool any_version, struct err *e) MUST_CHECK;
/* In the view, by name; NULL: none. Destroyed ones are not looked at. */
const ControlKey *control_key_of(const struct control_view *view, const ControlKeyName *name);

/* Of a request, what a proposal starts as: a copy with its versions set, label, summary. ERR_INPUT a field;
 * ERR_NOT_FOUND no such key; ERR_EXISTS it is there, or was; ERR_STATE its state forbids it. */
enum err_code control_plan(const ControlRequest *request, const struct control_view *view,
                           struct control_proposal *out_draft, struct err *e) MUST_CHECK;
/* The key of a request; NULL: a policy change, or it is missing. */
ControlKeyName *control_request_key(const ControlRequest *request);

/* What the token shows after an order whose answer was lost. */
enum control_trace { CONTROL_DONE, CONTROL_NOT_DONE, CONTROL_UNCLEAR };
enum control_trace control_look(const ControlRequest *request, const struct control_view *view);

/* Who would be hit by a request that takes a key out of use or destroys it. */
struct control_stakes {
    const struct control_use *uses; /* of that key, counts above 0 */
    size_t count;
    bool told; /* somebody ever reported */
    int64_t now_ms;
};
/* Lines into out_lines[CONTROL_BREAK_BYTES]; "" when nothing would break. */
void control_breaks(const ControlRequest *request, const struct control_view *view,
                    const struct control_stakes *stakes, char *out_lines);
/* Without break_use a list that is not empty is ERR_STATE; the note begins with its lines. */
enum err_code control_check_breaks(const ControlRequest *request, const char *lines,
                                   struct err *e) MUST_CHECK;

#endif
