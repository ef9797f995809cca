#include "base/secret.h"
#include "card-emu/terminal/terminal.h"
#include "iso8583/processing.h"
#include "iso8583/track2.h"

#include <stdio.h>
#include <string.h>

#define SERVICE_CODE    "201"
#define TYPE_PURCHASE   "22"
#define TYPE_MANAGEMENT "00"

static enum err_code put_f60(const struct terminal *t, const char *type, const char *management,
                             struct iso_message *m, struct err *e)
{
    struct iso_f60 f60 = {0};
    char text[ISO_F60_DIGITS_MAX + 1];
    snprintf(f60.type, sizeof f60.type, "%s", type);
    snprintf(f60.batch, sizeof f60.batch, "%06u", t->state.batch % 1000000);
    snprintf(f60.management, sizeof f60.management, "%s", management);
    TRY(iso_f60_build(&f60, text, e));
    return iso_set_text(m, 60, text, e);
}

static enum err_code put_head(const struct terminal *t, const char *mti, struct iso_message *m, struct err *e)
{
    TRY(iso_set_mti(m, mti, e));
    TRY(iso_set_number(m, 11, t->state.trace, e));
    TRY(iso_set_text(m, 41, t->options->terminal_id, e));
    return iso_set_text(m, 42, t->options->merchant_id, e);
}

enum err_code message_management(struct terminal *t, const char *mti, const char *management,
                                 struct iso_message *m, struct err *e)
{
    TRY(state_next_trace(t->options->state, &t->state, e));
    TRY(put_head(t, mti, m, e));
    return put_f60(t, TYPE_MANAGEMENT, management, m, e);
}

/* A magnetic stripe for a PAN that was typed: separator, expiry, service code, zeros up to the full 37
 * digits. */
static enum err_code make_track(const struct terminal_options *o, char out_track[ISO_TRACK2_DIGITS_MAX + 1],
                                struct err *e)
{
    char track[128], pan[20];
    const int len = o->track2 != NULL
                        ? snprintf(track, sizeof track, "%s", o->track2)
                        : snprintf(track, sizeof track, "%s=%s" SERVICE_CODE, o->pan, o->expiry);
    if (len > ISO_TRACK2_DIGITS_MAX)
        return err_set(e, ERR_INPUT, "track 2 has %d characters; at most %d", len, ISO_TRACK2_DIGITS_MAX);
    TRY(iso_track2_pan(track, pan, e));
    memset(out_track, '0', ISO_TRACK2_DIGITS_MAX);
    memcpy(out_track, track, (size_t)len);
    out_track[o->track2 != NULL ? len : ISO_TRACK2_DIGITS_MAX] = '\0';
    secret_wipe(track, sizeof track);
    return ERR_OK;
}

static enum err_code put_pin(struct terminal *t, const char *pan, struct iso_message *m, struct err *e)
{
    uint8_t block[PAD_PIN_BLOCK_MAX];
    size_t len = 0;
    if (t->options->pin == NULL)
        return ERR_OK;
    TRY(pad_pin_block(&t->pad, t->options->pin, pan, block, &len, e));
    TRY(iso_set_text(m, 26, "12", e));
    return iso_set_bytes(m, t->pad.suite == SUITE_AES ? 57 : 52, block, len, e);
}

static enum err_code put_card(struct terminal *t, struct iso_message *m, struct err *e)
{
    char track[ISO_TRACK2_DIGITS_MAX + 1], pan[20], f53_text[17];
    TRY(make_track(t->options, track, e));
    TRY(iso_track2_pan(track, pan, e));
    if (!t->options->track_only)
        TRY(iso_set_text(m, 2, pan, e));
    TRY(put_pin(t, pan, m, e));
    if (t->state.has_tdk)
        TRY(pad_encipher_track(&t->pad, track, e));
    TRY(iso_set_text(m, 35, track, e));
    const struct iso_f53 f53 = {.pin = t->options->pin != NULL ? ISO_PIN_WITH_PAN : ISO_PIN_NONE,
                                .cipher = t->pad.suite == SUITE_AES ? ISO_CIPHER_AES : ISO_CIPHER_TDES,
                                .track_enciphered = t->state.has_tdk};
    iso_f53_build(&f53, f53_text);
    secret_wipe(track, sizeof track);
    return iso_set_text(m, 53, f53_text, e);
}

static enum err_code put_mac(struct terminal *t, struct iso_message *m, struct err *e)
{
    uint8_t input[ISO_MESSAGE_BYTES_MAX], f64[PAD_F64_BYTES];
    size_t len = 0;
    TRY(iso_mac_input(m, input, sizeof input, &len, e));
    TRY(pad_mac(&t->pad, input, len, f64, e));
    return iso_set_bytes(m, 64, f64, sizeof f64, e);
}

enum err_code message_pack(const struct iso_message *m, struct sent_message *out, struct err *e)
{
    TRY(iso_pack(m, out->wire, sizeof out->wire, &out->wire_len, e));
    out->message = *m;
    return ERR_OK;
}

enum err_code message_purchase(struct terminal *t, struct sent_message *out, struct err *e)
{
    const struct terminal_options *o = t->options;
    AUTO(iso_message) m;
    iso_message_init(&m, &iso_unionpay);
    TRY(pad_open(&t->pad, e));
    TRY(put_head(t, "0200", &m, e));
    TRY(iso_set_text(&m, 3, "000000", e));
    TRY(iso_set_number(&m, 4, (uint64_t)o->amount, e));
    TRY(iso_set_text(&m, 22, o->pin != NULL ? "021" : "022", e));
    TRY(iso_set_text(&m, 25, "00", e));
    TRY(iso_set_text(&m, 49, "156", e));
    TRY(put_f60(t, TYPE_PURCHASE, "000", &m, e));
    TRY(put_card(t, &m, e));
    TRY(put_mac(t, &m, e));
    if (o->tamper_amount)
        TRY(iso_set_number(&m, 4, (uint64_t)o->amount + 1, e));
    return message_pack(&m, out, e);
}

static enum err_code same_field(const struct iso_message *request, const struct iso_message *answer,
                                unsigned field, struct err *e)
{
    const char *sent = iso_text(request, field), *got = iso_text(answer, field);
    if (sent == NULL || got == NULL || strcmp(sent, got) == 0)
        return ERR_OK;
    return err_set(e, ERR_CHECK, "the answer's field %u is not the request's", field);
}

static enum err_code check_answer(const struct iso_message *request, const struct iso_message *answer,
                                  struct err *e)
{
    static const uint8_t needed[] = {11, 39, 41, 0}, same[] = {3, 4, 11, 41, 42, 49, 0};
    char mti[5];
    memcpy(mti, request->mti, sizeof mti);
    mti[2]++;
    if (strcmp(mti, answer->mti) != 0)
        return err_set(e, ERR_CHECK, "%s was answered with %s", request->mti, answer->mti);
    TRY(iso_require(answer, needed, e));
    for (const uint8_t *field = same; *field != 0; field++)
        TRY(same_field(request, answer, *field, e));
    return ERR_OK;
}

static enum err_code check_mac(struct terminal *t, const struct answer *answer, const uint8_t *wire,
                               size_t len, struct err *e)
{
    uint8_t f64[PAD_F64_BYTES];
    size_t got_len = 0;
    const uint8_t *got = iso_view_bytes(&answer->message, 64, &got_len);
    if (got == NULL && strcmp(answer->f39, "00") == 0)
        return err_set(e, ERR_CHECK, "the approval has no MAC and does not count");
    if (got == NULL)
        return ERR_OK;
    TRY(pad_open(&t->pad, e));
    TRY(pad_mac(&t->pad, wire, iso_mac_input_len(&answer->message, len), f64, e));
    if (!secret_equal(got, f64, sizeof f64))
        return err_set(e, ERR_CHECK, "the answer's MAC is wrong; it does not count");
    return ERR_OK;
}

enum err_code message_exchange(struct terminal *t, const struct sent_message *sent, bool mac,
                               struct answer *out_answer, struct err *e)
{
    uint8_t wire[ISO_MESSAGE_BYTES_MAX];
    size_t len = 0;
    TRY(host_exchange(&t->host, sent->wire, sent->wire_len, wire, sizeof wire, &len, e));
    if (iso_unpack(&out_answer->message, &iso_unionpay, wire, len, e) != ERR_OK)
        return err_context(e, "answer");
    TRY(check_answer(&sent->message, &out_answer->message, e));
    out_answer->f39 = iso_text(&out_answer->message, 39);
    return mac ? check_mac(t, out_answer, wire, len, e) : ERR_OK;
}
