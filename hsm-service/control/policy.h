/* The policy that operators change under dual control, within the bounds of the configuration. */
#ifndef POSWARD_HSM_SERVICE_CONTROL_POLICY_H
#define POSWARD_HSM_SERVICE_CONTROL_POLICY_H

#include "base/err.h"
#include "posward/hsm/v1/keys.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

enum control_pin_limit {
    CONTROL_PIN_TERMINAL_MINUTE,
    CONTROL_PIN_TERMINAL_HOUR,
    CONTROL_PIN_ACCOUNT_MINUTE,
    CONTROL_PIN_ACCOUNT_HOUR,
    CONTROL_PIN_LIMITS
};

struct control_policy {
    bool in_token;                    /* exposure */
    uint32_t approvals;               /* 2 to 8 */
    int64_t expires_s;                /* of a proposal */
    uint32_t pin[CONTROL_PIN_LIMITS]; /* 0: no limit */
};

#define CONTROL_EXPIRES_LEAST_S 60
#define CONTROL_EXPIRES_MOST_S  2592000 /* 30 days */
#define CONTROL_PIN_MOST        1000000

/* The stricter of both, field by field; 0 of `changed`: says nothing. */
struct control_policy control_policy_stricter(const struct control_policy *configured,
                                              const struct control_policy *changed);
/* Read a change; its empty and zero fields keep what `before` has. ERR_INPUT names the field. */
enum err_code control_policy_read(const Posward__Hsm__V1__Policy *change, const struct control_policy *before,
                                  struct control_policy *out_policy, struct err *e) MUST_CHECK;
/* Strings are static. */
Posward__Hsm__V1__Policy control_policy_message(const struct control_policy *policy);

#endif
