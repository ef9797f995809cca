#include "posv/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct text_rule {
    const char *field;
    size_t least, most;
    bool (*allows)(char c);
    const char *shape; /* after "must be" */
};

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

static const struct text_rule terminal_rule = {"terminal_id", TERMINAL_ID_CHARS, TERMINAL_ID_CHARS,
                                               is_alphanumeric, "8 characters A-Z a-z 0-9"};
static const struct text_rule prefix_rule = {"terminal_prefix", 0, TERMINAL_ID_CHARS, is_alphanumeric,
                                             "at most 8 characters A-Z a-z 0-9"};
static const struct text_rule merchant_rule = {"merchant_id", MERCHANT_ID_CHARS, MERCHANT_ID_CHARS,
                                               is_printable, "15 printable ASCII characters"};
static const struct text_rule psam_rule = {"psam_number", PSAM_DIGITS_MIN, PSAM_DIGITS_MAX, is_digit,
                                           "16 to 20 decimal digits"};
static const struct text_rule reason_rule = {"reason", 0, REASON_CHARS_MOST, is_printable,
                                             "at most 100 printable ASCII characters"};

static enum err_code check_text(const struct text_rule *rule, const char *text, struct err *e)
{
    const size_t len = strlen(text);
    if (len == 0 && rule->least > 0)
        return err_set(e, ERR_INPUT, "%s is missing: it must be %s", rule->field, rule->shape);
    if (len < rule->least || len > rule->most)
        return err_set(e, ERR_INPUT, "%s must be %s, got %zu", rule->field, rule->shape, len);
    for (size_t i = 0; i < len; i++)
        if (!rule->allows(text[i]))
            return err_set(e, ERR_INPUT, "%s must be %s, but character %zu is 0x%02X", rule->field,
                           rule->shape, i + 1, (unsigned char)text[i]);
    return ERR_OK;
}

enum err_code device_check_terminal(const char *terminal_id, struct err *e)
{
    return check_text(&terminal_rule, terminal_id, e);
}

enum err_code device_check_terminal_prefix(const char *prefix, struct err *e)
{
    return check_text(&prefix_rule, prefix, e);
}

enum err_code device_check_merchant(const char *merchant_id, struct err *e)
{
    return check_text(&merchant_rule, merchant_id, e);
}

enum err_code device_check_psam(const char *psam_number, struct err *e)
{
    return check_text(&psam_rule, psam_number, e);
}

enum err_code device_check_suite(int64_t suite, struct err *e)
{
    if (suite == 0)
        return err_set(e, ERR_INPUT, "suite is missing: it must be TDES, AES_128 or AES_256");
    if (suite < 0 || suite > DEVICE_SUITE_MOST)
        return err_set(e, ERR_INPUT, "suite must be TDES, AES_128 or AES_256, got number %" PRId64, suite);
    return ERR_OK;
}

static enum err_code check_master_version(int64_t version, struct err *e)
{
    if (version < 1 || version > KEY_VERSION_MAX)
        return err_set(e, ERR_INPUT, "master_version must be 1 to 255, got %" PRId64, version);
    return ERR_OK;
}

static enum err_code check_wrap_version(int64_t version, int64_t suite, struct err *e)
{
    if (version < 0 || version > DEVICE_WRAP_MAX)
        return err_set(e, ERR_INPUT, "wrap_version must be 1 or 2, got %" PRId64, version);
    if (version > 1 && suite == DEVICE_SUITE_TDES)
        return err_set(e, ERR_INPUT, "wrap_version must be 1 with suite TDES, got %" PRId64, version);
    return ERR_OK;
}

static int wrap_version_of(const struct device_request *request)
{
    return request->wrap_version == 0 ? 1 : (int)request->wrap_version;
}

enum err_code device_check(const struct device_request *request, struct err *e)
{
    TRY(device_check_terminal(request->terminal_id, e));
    TRY(check_text(&reason_rule, request->reason, e));
    if (request->action == DEVICE_REGISTER)
        TRY(device_check_merchant(request->merchant_id, e));
    if (request->action != DEVICE_REGISTER && request->action != DEVICE_REPLACE_CARD)
        return ERR_OK;
    TRY(device_check_psam(request->psam_number, e));
    TRY(device_check_suite(request->suite, e));
    TRY(check_master_version(request->master_version, e));
    return check_wrap_version(request->wrap_version, request->suite, e);
}

static bool same_card(const struct device *now, const struct device_request *request)
{
    char old_key[PSAM_DIGITS_MAX + 1], new_key[PSAM_DIGITS_MAX + 1];
    device_card_key(now->psam_number, old_key);
    device_card_key(request->psam_number, new_key);
    return strcmp(old_key, new_key) == 0 && now->suite == request->suite &&
           now->master_version == request->master_version && now->wrap_version == wrap_version_of(request);
}

static void put_card(struct device *device, const struct device_request *request)
{
    snprintf(device->psam_number, sizeof device->psam_number, "%s", request->psam_number);
    device->suite = (int)request->suite;
    device->master_version = (int)request->master_version;
    device->wrap_version = wrap_version_of(request);
}

static enum err_code refuse_second(const struct device *now, const struct device_request *request,
                                   struct err *e)
{
    if (now->state == DEVICE_RETIRED)
        return err_set(e, ERR_EXISTS, "terminal %s was retired for good: register under a new terminal_id",
                       now->terminal_id);
    if (same_card(now, request) && strcmp(now->merchant_id, request->merchant_id) == 0)
        return err_set(e, ERR_EXISTS,
                       "terminal %s is registered already, identical in merchant, card, suite, master "
                       "and wrap version (it is %s)",
                       now->terminal_id, device_state_name(now->state));
    return err_set(e, ERR_EXISTS,
                   "terminal %s is registered already, with card %s: use ReplaceCard for another",
                   now->terminal_id, now->psam_number);
}

static enum err_code next_registered(const struct device *now, const struct device_request *request,
                                     struct device *out_next, struct err *e)
{
    if (now != NULL)
        return refuse_second(now, request, e);
    struct device next = {.state = DEVICE_ACTIVE};
    snprintf(next.terminal_id, sizeof next.terminal_id, "%s", request->terminal_id);
    snprintf(next.merchant_id, sizeof next.merchant_id, "%s", request->merchant_id);
    put_card(&next, request);
    *out_next = next;
    return ERR_OK;
}

/* Which states an action may start from, and where it leads (0: it stays). */
static const struct {
    const char *verb;
    bool from[DEVICE_STATE_MOST + 1];
    int to;
} moves[] = {
    [DEVICE_REPLACE_CARD] = {"given another card", {[DEVICE_ACTIVE] = true, [DEVICE_SUSPENDED] = true}, 0},
    [DEVICE_SUSPEND] = {"suspended", {[DEVICE_ACTIVE] = true}, DEVICE_SUSPENDED},
    [DEVICE_RESUME] = {"resumed", {[DEVICE_SUSPENDED] = true}, DEVICE_ACTIVE},
    [DEVICE_RETIRE] = {"retired", {[DEVICE_ACTIVE] = true, [DEVICE_SUSPENDED] = true}, DEVICE_RETIRED},
};

enum err_code device_next(const struct device *now, const struct device_request *request,
                          struct device *out_next, struct err *e)
{
    if (request->action == DEVICE_REGISTER)
        return next_registered(now, request, out_next, e);
    if (now == NULL)
        return err_set(e, ERR_NOT_FOUND, "terminal %s is not registered", request->terminal_id);
    if (!moves[request->action].from[now->state])
        return err_set(e, ERR_STATE, "terminal %s is %s and cannot be %s", now->terminal_id,
                       device_state_name(now->state), moves[request->action].verb);
    if (request->action == DEVICE_REPLACE_CARD && same_card(now, request))
        return err_set(e, ERR_EXISTS,
                       "terminal %s has card %s already, with the same suite, master and wrap version",
                       now->terminal_id, now->psam_number);
    struct device next = *now;
    if (moves[request->action].to != 0)
        next.state = (enum device_state)moves[request->action].to;
    if (request->action == DEVICE_REPLACE_CARD)
        put_card(&next, request);
    if (next.state == DEVICE_RETIRED)
        next.psam_number[0] = '\0';
    snprintf(next.reason, sizeof next.reason, "%s", request->reason);
    *out_next = next;
    return ERR_OK;
}

void device_card_key(const char *psam_number, char out_key[PSAM_DIGITS_MAX + 1])
{
    const size_t len = strnlen(psam_number, PSAM_DIGITS_MAX);
    memset(out_key, '0', PSAM_DIGITS_MAX);
    memcpy(out_key + PSAM_DIGITS_MAX - len, psam_number, len);
    out_key[PSAM_DIGITS_MAX] = '\0';
}

const char *device_state_name(enum device_state state)
{
    static const char *const names[DEVICE_STATE_MOST + 1] = {
        [DEVICE_ACTIVE] = "ACTIVE", [DEVICE_SUSPENDED] = "SUSPENDED", [DEVICE_RETIRED] = "RETIRED"};
    return (int)state >= 1 && (int)state <= DEVICE_STATE_MOST ? names[state] : "UNKNOWN";
}
