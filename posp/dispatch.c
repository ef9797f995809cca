#include "posp/dispatch.h"

#include "base/log.h"
#include "posp/answer.h"
#include "posp/handlers.h"
#include "posward/posv/v1/posv.pb-c.h"

#include <stdio.h>
#include <string.h>

typedef enum err_code (*handler_fn)(struct posp *posp, const struct request *request,
                                    struct answer *out_answer, struct err *e);

/* A kind of message: MTI, and the beginning of F60.3 or F3. */
struct kind {
    const char *mti;
    const char *management;  /* F60.3; NULL: not looked at */
    const char *processing;  /* first digits of F3; NULL: not looked at */
    const uint8_t *required; /* fields, ends with 0 */
    handler_fn handle;
};

static const uint8_t sign_in_fields[] = {11, 41, 42, 60, 63, 0};
static const uint8_t management_fields[] = {11, 41, 42, 60, 0};
static const uint8_t purchase_fields[] = {3, 4, 11, 22, 25, 41, 42, 49, 60, 0};

static const struct kind kinds[] = {
    {"0800", ISO_NMC_SIGN_IN_SINGLE, NULL, sign_in_fields, signin_handle},
    {"0800", ISO_NMC_SIGN_IN_DOUBLE, NULL, sign_in_fields, signin_handle},
    {"0800", ISO_NMC_SIGN_IN_TRACK, NULL, sign_in_fields, signin_handle},
    {"0800", ISO_NMC_SIGN_IN_SLOTS, NULL, sign_in_fields, signin_handle},
    {"0820", ISO_NMC_SIGN_OFF, NULL, management_fields, signoff_handle},
    {"0820", ISO_NMC_ECHO, NULL, management_fields, signoff_handle},
    {"0200", NULL, "00", purchase_fields, purchase_handle},
};

static bool kind_fits(const struct kind *kind, const struct iso_message *m, const struct iso_f60 *f60)
{
    if (strcmp(kind->mti, m->mti) != 0)
        return false;
    if (kind->management != NULL)
        return strcmp(kind->management, f60->management) == 0;
    const char *processing = iso_text(m, 3);
    return processing != NULL && strncmp(processing, kind->processing, strlen(kind->processing)) == 0;
}

static const struct kind *find_kind(const struct iso_message *m, const struct iso_f60 *f60)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kind_fits(&kinds[i], m, f60))
            return &kinds[i];
    return NULL;
}

/* Field 3 and field 60 tell the kind of message, so they come before what the kind requires. */
static enum err_code check_form(const struct iso_message *m, struct iso_f60 *f60, struct err *e)
{
    static const uint8_t always[] = {11, 41, 60, 0};
    static const uint8_t financial[] = {3, 0};
    TRY(iso_require(m, always, e));
    if (strncmp(m->mti, "02", 2) == 0)
        TRY(iso_require(m, financial, e));
    return iso_f60_parse(iso_text(m, 60), f60, e);
}

static const struct {
    int state;
    const char *code;
} refused_states[] = {
    {POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_SUSPENDED, F39_NOT_HERE},
    {POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_RETIRED, F39_NOT_REGISTERED},
    {POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_UNSPECIFIED, F39_NOT_REGISTERED},
};

/* Patent S402. The code to refuse with; NULL: this terminal is served. */
static const char *check_terminal(struct posp *posp, struct request *request, struct err *e)
{
    const char *terminal = iso_text(request->message, 41), *merchant = iso_text(request->message, 42);
    const enum err_code code = store_device_get(posp->store, terminal, &request->device, e);
    if (code != ERR_OK)
        return code == ERR_NOT_FOUND ? F39_NOT_REGISTERED : F39_FAULT;
    for (size_t i = 0; i < sizeof refused_states / sizeof refused_states[0]; i++)
        if (request->device.state == refused_states[i].state) {
            (void)err_set(e, ERR_DENIED, "terminal is suspended or retired");
            return refused_states[i].code;
        }
    if (strcmp(merchant, request->device.merchant_id) != 0) {
        (void)err_set(e, ERR_DENIED, "field 42 is not this terminal's merchant");
        return F39_MERCHANT;
    }
    request->rules = suite_rules(request->device.suite);
    if (request->rules != NULL)
        return NULL;
    (void)err_set(e, ERR_UNSUPPORTED, "suite %d is not known here", request->device.suite);
    return F39_SECURITY;
}

/* Decline with what of the request can be repeated. */
static enum err_code decline(struct posp *posp, const struct iso_message *m, const char *response_code,
                             const struct err *why, struct answer *out_answer, struct err *e)
{
    log_failure(LOG_WARN, "message refused", why, LOG_STR("mti", m->mti),
                LOG_STR("terminal", iso_text(m, 41)), LOG_STR("stan", iso_text(m, 11)),
                LOG_STR("code", response_code));
    struct iso_message reply;
    iso_message_init(&reply, posp->dialect);
    enum err_code code = answer_begin(posp, m, response_code, NULL, &reply, e);
    if (code == ERR_OK)
        code = answer_pack(&reply, out_answer, e);
    iso_message_drop(&reply);
    return code;
}

static enum err_code handle_parsed(struct posp *posp, const struct iso_message *m, const uint8_t *bytes,
                                   size_t len, struct answer *out_answer, struct err *e)
{
    struct err why = {0};
    struct request request = {.message = m, .bytes = bytes, .len = len};
    log_event(LOG_DEBUG, "message taken", LOG_STR("mti", m->mti), LOG_STR("terminal", iso_text(m, 41)),
              LOG_STR("stan", iso_text(m, 11)));
    if (check_form(m, &request.f60, &why) != ERR_OK)
        return decline(posp, m, F39_FORMAT, &why, out_answer, e);
    const struct kind *kind = find_kind(m, &request.f60);
    if (kind == NULL) {
        (void)err_set(&why, ERR_UNSUPPORTED, "no such transaction here: F3 %.6s, F60.3 %.3s",
                      iso_has(m, 3) ? iso_text(m, 3) : "", request.f60.management);
        return decline(posp, m, F39_INVALID, &why, out_answer, e);
    }
    if (iso_require(m, kind->required, &why) != ERR_OK)
        return decline(posp, m, F39_FORMAT, &why, out_answer, e);
    const char *refusal = check_terminal(posp, &request, &why);
    if (refusal != NULL)
        return decline(posp, m, refusal, &why, out_answer, e);
    if (kind->handle(posp, &request, out_answer, &why) != ERR_OK)
        return decline(posp, m, F39_FAULT, &why, out_answer, e);
    return ERR_OK;
}

/* A message that does not parse is answered by its type alone; without a type there is nothing to answer. */
static enum err_code read_mti(const uint8_t *bytes, size_t len, struct iso_message *m, struct err *e)
{
    char mti[5], answer[5];
    if (len < 2)
        return err_set(e, ERR_INPUT, "%zu bytes are no message", len);
    snprintf(mti, sizeof mti, "%02X%02X", bytes[0], bytes[1]);
    TRY(answer_mti(mti, answer, e));
    return iso_set_mti(m, mti, e);
}

enum err_code dispatch(struct posp *posp, const uint8_t *message, size_t len, struct answer *out_answer,
                       struct err *e)
{
    struct iso_message m;
    struct err why = {0};
    iso_message_init(&m, posp->dialect);
    TRY(read_mti(message, len, &m, e));
    atomic_fetch_add(&posp->messages, 1);
    enum err_code code;
    if (iso_unpack(&m, posp->dialect, message, len, &why) == ERR_OK) {
        code = handle_parsed(posp, &m, message, len, out_answer, e);
    } else {
        iso_message_drop(&m);
        code = read_mti(message, len, &m, e);
        if (code == ERR_OK)
            code = decline(posp, &m, F39_FORMAT, &why, out_answer, e);
    }
    iso_message_drop(&m);
    return code;
}
