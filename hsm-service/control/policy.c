#include "hsm-service/control/policy.h"

#include "hsm-service/control/proposal.h"

#include <string.h>

static char any[] = "any", in_token[] = "in_token";

static uint32_t smaller(uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

struct control_policy control_policy_stricter(const struct control_policy *configured,
                                              const struct control_policy *changed)
{
    struct control_policy p = *configured;
    p.in_token |= changed->in_token;
    if (changed->approvals > p.approvals)
        p.approvals = changed->approvals;
    if (changed->expires_s != 0 && changed->expires_s < p.expires_s)
        p.expires_s = changed->expires_s;
    for (int i = 0; i < CONTROL_PIN_LIMITS; i++)
        p.pin[i] = smaller(p.pin[i], changed->pin[i]);
    return p;
}

static enum err_code read_exposure(const char *text, bool *out_in_token, struct err *e)
{
    if (text[0] == '\0')
        return ERR_OK;
    if (strcmp(text, any) != 0 && strcmp(text, in_token) != 0)
        return err_set(e, ERR_INPUT, "policy.exposure is '%.20s'; it must be any or in_token", text);
    *out_in_token = strcmp(text, in_token) == 0;
    return ERR_OK;
}

static enum err_code read_pins(const uint32_t *changed, struct control_policy *p, struct err *e)
{
    for (int i = 0; i < CONTROL_PIN_LIMITS; i++) {
        if (changed[i] > CONTROL_PIN_MOST)
            return err_set(e, ERR_INPUT, "a PIN limit is %u; the largest is %d", changed[i],
                           CONTROL_PIN_MOST);
        if (changed[i] != 0)
            p->pin[i] = changed[i];
    }
    return ERR_OK;
}

enum err_code control_policy_read(const Posward__Hsm__V1__Policy *change, const struct control_policy *before,
                                  struct control_policy *out_policy, struct err *e)
{
    struct control_policy p = *before;
    const uint32_t pins[CONTROL_PIN_LIMITS] = {change->pin_terminal_per_minute, change->pin_terminal_per_hour,
                                               change->pin_account_per_minute, change->pin_account_per_hour};
    TRY(read_exposure(change->exposure, &p.in_token, e));
    if (change->approvals != 0) {
        if (change->approvals < CONTROL_APPROVALS_LEAST || change->approvals > CONTROL_APPROVALS_MOST)
            return err_set(e, ERR_INPUT, "policy.approvals is %u; it must be within %d and %d",
                           change->approvals, CONTROL_APPROVALS_LEAST, CONTROL_APPROVALS_MOST);
        p.approvals = change->approvals;
    }
    if (change->proposal_expires_s != 0) {
        if (change->proposal_expires_s < CONTROL_EXPIRES_LEAST_S ||
            change->proposal_expires_s > CONTROL_EXPIRES_MOST_S)
            return err_set(e, ERR_INPUT, "policy.proposal_expires_s is %lld; it must be within %d and %d",
                           (long long)change->proposal_expires_s, CONTROL_EXPIRES_LEAST_S,
                           CONTROL_EXPIRES_MOST_S);
        p.expires_s = change->proposal_expires_s;
    }
    TRY(read_pins(pins, &p, e));
    *out_policy = p;
    return ERR_OK;
}

Posward__Hsm__V1__Policy control_policy_message(const struct control_policy *p)
{
    Posward__Hsm__V1__Policy m = POSWARD__HSM__V1__POLICY__INIT;
    m.exposure = p->in_token ? in_token : any;
    m.approvals = p->approvals;
    m.proposal_expires_s = p->expires_s;
    m.pin_terminal_per_minute = p->pin[CONTROL_PIN_TERMINAL_MINUTE];
    m.pin_terminal_per_hour = p->pin[CONTROL_PIN_TERMINAL_HOUR];
    m.pin_account_per_minute = p->pin[CONTROL_PIN_ACCOUNT_MINUTE];
    m.pin_account_per_hour = p->pin[CONTROL_PIN_ACCOUNT_HOUR];
    return m;
}
