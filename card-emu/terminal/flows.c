#include "apdu/status.h"
#include "base/secret.h"
#include "card-emu/terminal/report.h"
#include "card-emu/terminal/terminal.h"
#include "iso8583/mask.h"
#include "iso8583/processing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *management;
} key_layouts[] = {{"single", ISO_NMC_SIGN_IN_SINGLE},
                   {"double", ISO_NMC_SIGN_IN_DOUBLE},
                   {"track", ISO_NMC_SIGN_IN_TRACK},
                   {"slots", ISO_NMC_SIGN_IN_SLOTS}};

static const char *text_or_dash(const struct iso_message *m, unsigned field)
{
    const char *text = iso_text(m, field);
    return text != NULL ? text : "-";
}

static enum outcome outcome_of(const char *f39)
{
    return strcmp(f39, "00") == 0 ? OUTCOME_DONE : OUTCOME_DECLINED;
}

static enum err_code management_code(const struct terminal *t, const char **out_code, struct err *e)
{
    const char *wanted = t->options->keys != NULL    ? t->options->keys
                         : t->pad.suite == SUITE_AES ? "slots"
                                                     : "track";
    for (size_t i = 0; i < sizeof key_layouts / sizeof key_layouts[0]; i++) {
        if (strcmp(key_layouts[i].name, wanted) == 0) {
            *out_code = key_layouts[i].management;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_INPUT, "--keys %.20s: single, double, track or slots", wanted);
}

/* 0800 has the operator in F63 and, in F62, the terminal's serial number or the card's. */
static enum err_code signin_message(struct terminal *t, struct iso_message *m, struct err *e)
{
    const char *management = NULL;
    char serial[16 + ISO_F62_SERIAL_MAX];
    TRY(management_code(t, &management, e));
    TRY(message_management(t, "0800", management, m, e));
    TRY(iso_f62_serial_build(t->options->terminal_id, serial, e));
    TRY(iso_set_text(m, 62, t->options->send_psam_number ? t->pad.psam_number : serial, e));
    return iso_set_text(m, 63, "01 ", e);
}

/* The card refused a key: say so, and whether it is as it was. */
static enum err_code report_refusal(struct terminal *t, const struct pad_keys *before,
                                    const struct err *refusal, enum outcome *out, struct err *e)
{
    struct pad_keys after;
    char sw[8];
    TRY(pad_read_keys(&t->pad, &after, e));
    const bool same = secret_equal(before, &after, sizeof after);
    snprintf(sw, sizeof sw, "%04lX", refusal->native);
    report_step(t->options->json, "sign-in", "the card refused the working keys", LOG_STR("SW", sw),
                LOG_STR("meaning", apdu_sw_text((uint16_t)refusal->native)),
                LOG_STR("card", same ? "unchanged" : "partly changed"), LOG_STR("psam", t->pad.psam_number));
    *out = OUTCOME_CARD_REFUSED;
    return ERR_OK;
}

static enum err_code take_keys(struct terminal *t, const struct answer *answer, enum outcome *out,
                               struct err *e)
{
    struct iso_f62 f62;
    struct pad_keys before;
    size_t len = 0;
    struct terminal_state next = t->state;
    const uint8_t *bytes = iso_view_bytes(&answer->message, 62, &len);
    if (bytes == NULL)
        return err_set(e, ERR_CHECK, "the answer has no working keys (field 62)");
    TRY(iso_f62_parse(bytes, len, t->pad.suite == SUITE_AES ? ISO_F62_AES : ISO_F62_TDES, &f62, e));
    TRY(pad_read_keys(&t->pad, &before, e));
    next.key_version = t->state.key_version % 255 + 1;
    next.has_tdk = f62.keys[ISO_F62_TDK].cipher_len > 0;
    const enum err_code code = pad_write_keys(&t->pad, &f62, (uint8_t)next.key_version, e);
    if (code == ERR_CHECK && e->native != 0) {
        const struct err refusal = *e;
        return report_refusal(t, &before, &refusal, out, e);
    }
    TRY(code);
    TRY(state_save(t->options->state, &next, e));
    t->state = next;
    report_step(t->options->json, "sign-in", "approved, the card has the working keys",
                LOG_STR("F39", answer->f39), LOG_STR("trace", text_or_dash(&answer->message, 11)),
                LOG_INT("F62 bytes", len), LOG_STR("psam", t->pad.psam_number));
    *out = OUTCOME_DONE;
    return ERR_OK;
}

static void report_answer(const struct terminal *t, const char *step, const struct answer *answer)
{
    report_step(t->options->json, step, report_code_text(answer->f39), LOG_STR("F39", answer->f39),
                LOG_STR("trace", text_or_dash(&answer->message, 11)),
                LOG_STR("reference", text_or_dash(&answer->message, 37)));
}

enum err_code flow_signin(struct terminal *t, enum outcome *out, struct err *e)
{
    static struct sent_message sent;
    static struct answer answer;
    AUTO(iso_message) m;
    iso_message_init(&m, &iso_unionpay);
    TRY(pad_open(&t->pad, e));
    TRY(signin_message(t, &m, e));
    TRY(message_pack(&m, &sent, e));
    TRY(message_exchange(t, &sent, false, &answer, e));
    *out = outcome_of(answer.f39);
    if (*out == OUTCOME_DONE) {
        *out = OUTCOME_FAILED;
        return take_keys(t, &answer, out, e);
    }
    report_answer(t, "sign-in", &answer);
    return ERR_OK;
}

static enum err_code simple(struct terminal *t, const char *step, const char *management, enum outcome *out,
                            struct err *e)
{
    static struct sent_message sent;
    static struct answer answer;
    AUTO(iso_message) m;
    iso_message_init(&m, &iso_unionpay);
    TRY(message_management(t, "0820", management, &m, e));
    TRY(message_pack(&m, &sent, e));
    TRY(message_exchange(t, &sent, false, &answer, e));
    report_answer(t, step, &answer);
    *out = outcome_of(answer.f39);
    return ERR_OK;
}

enum err_code flow_echo(struct terminal *t, enum outcome *out, struct err *e)
{
    return simple(t, "echo", ISO_NMC_ECHO, out, e);
}

enum err_code flow_signoff(struct terminal *t, enum outcome *out, struct err *e)
{
    return simple(t, "sign-off", ISO_NMC_SIGN_OFF, out, e);
}

static void report_purchase(const struct terminal *t, const char *step, const struct sent_message *sent,
                            const struct answer *answer)
{
    char card[ISO_MASKED_BYTES], amount[32];
    iso_mask_field(&sent->message, iso_has(&sent->message, 2) ? 2 : 35, card);
    snprintf(amount, sizeof amount, "%" PRId64 ".%02" PRId64, t->options->amount / 100,
             t->options->amount % 100);
    report_step(t->options->json, step, report_code_text(answer->f39), LOG_STR("F39", answer->f39),
                LOG_STR("amount", amount), LOG_STR("card", card),
                LOG_STR("trace", text_or_dash(&answer->message, 11)),
                LOG_STR("reference", text_or_dash(&answer->message, 37)),
                LOG_STR("authorisation", text_or_dash(&answer->message, 38)),
                LOG_STR("MAC", iso_has(&answer->message, 64) ? "verified" : "none"));
}

/* The same bytes once more, as after a lost answer: the same answer has to come, and nothing may be booked
 * twice. */
static enum err_code repeat(struct terminal *t, const struct sent_message *sent, const struct answer *first,
                            struct err *e)
{
    static struct answer second;
    TRY(message_exchange(t, sent, true, &second, e));
    report_purchase(t, "repeat", sent, &second);
    if (strcmp(first->f39, second.f39) != 0 ||
        strcmp(text_or_dash(&first->message, 37), text_or_dash(&second.message, 37)) != 0)
        return err_set(e, ERR_CHECK, "the repeated message got another answer");
    return ERR_OK;
}

enum err_code flow_purchase(struct terminal *t, enum outcome *out, struct err *e)
{
    static struct sent_message sent;
    static struct answer answer;
    TRY(state_next_trace(t->options->state, &t->state, e));
    TRY(message_purchase(t, &sent, e));
    TRY(message_exchange(t, &sent, true, &answer, e));
    report_purchase(t, "purchase", &sent, &answer);
    if (t->options->repeat)
        TRY(repeat(t, &sent, &answer, e));
    *out = outcome_of(answer.f39);
    return ERR_OK;
}
