/* A transaction is its message: MAC, card number, PIN block and track are read from the bytes that the
 * terminal sent, nothing beside them is believed. */
#include "base/secret.h"
#include "hsm-service/keeper/blob_rule.h"
#include "hsm-service/keeper/cases.h"
#include "hsm-service/keeper/convert.h"
#include "iso8583/card.h"
#include "iso8583/pack.h"

#include <string.h>

#define MESSAGE_BYTES_MIN 20 /* MTI, bitmap, field 64 and something to prove */
#define MAC_FIELD         64

/* One transaction at work. */
struct proven {
    struct keeper_call *call;
    const HsmTransactionRequest *in;
    HsmTransactionResponse *out;
    struct tok_blob_info mak;
    const struct iso_suite *suite;
    struct iso_message message;
    struct iso_card card;
    struct tok_pin_request pin; /* where the PIN goes; the rest when the card is known */
};

static void proven_drop(struct proven *t)
{
    iso_card_drop(&t->card);
    iso_message_drop(&t->message);
}

static enum err_code find_dialect(const char *name, const struct iso_dialect **out_dialect, struct err *e)
{
    const char *const wanted = name[0] != '\0' ? name : iso_unionpay.name;
    for (size_t i = 0; iso_dialects[i] != NULL; i++)
        if (strcmp(iso_dialects[i]->name, wanted) == 0) {
            *out_dialect = iso_dialects[i];
            return ERR_OK;
        }
    return err_set(e, ERR_INPUT, "dialect is none of this service; leave it empty for %s", iso_unionpay.name);
}

static enum err_code read_message(struct proven *t, struct err *e)
{
    const struct iso_dialect *dialect = NULL;
    const HsmTransactionRequest *const in = t->in;
    TRY(convert_length(in->message.len, "message", MESSAGE_BYTES_MIN, TOK_DATA_BYTES, e));
    TRY(find_dialect(in->dialect, &dialect, e));
    TRY(convert_psam_number(in->psam_number, e));
    iso_message_init(&t->message, dialect);
    if (iso_unpack(&t->message, dialect, in->message.data, in->message.len, e) != ERR_OK)
        return err_context(e, "message");
    if (!iso_is_request(t->message.mti)) /* answers are MACed here for whoever has the blob */
        return err_set(e, ERR_INPUT, "message is of type %s, which no terminal sends", t->message.mti);
    return ERR_OK;
}

static struct tok_key_ref blob_ref(const struct proven *t, const ProtobufCBinaryData *blob)
{
    return (struct tok_key_ref){.blob = blob->data, .blob_len = blob->len, .psam_number = t->in->psam_number};
}

/* ---- The blobs: of one card, made in one sign-in ---- */

static enum err_code read_blob(const ProtobufCBinaryData *blob, enum tok_usage usage,
                               struct tok_blob_info *out_info, struct err *e)
{
    TRY(convert_length(blob->len, "blob", 1, TOK_BLOB_BYTES, e));
    TRY(tok_blob_peek(blob->data, blob->len, out_info, e));
    if (out_info->usage == usage)
        return ERR_OK;
    return err_set(e, ERR_DENIED, "the key blob is a %s, not a %s", convert_usage_name(out_info->usage),
                   convert_usage_name(usage));
}

static enum err_code read_blobs(struct proven *t, struct err *e)
{
    const HsmTransactionRequest *const in = t->in;
    const struct {
        const char *name;
        const ProtobufCBinaryData *blob; /* NULL: the part is not asked for */
        enum tok_usage usage;
    } parts[] = {{"mac", in->mac != NULL ? &in->mac->blob : NULL, TOK_MAK},
                 {"pin", in->pin != NULL ? &in->pin->blob : NULL, TOK_PIK},
                 {"track", in->track != NULL ? &in->track->blob : NULL, TOK_TDK}};
    struct tok_blob_info infos[sizeof parts / sizeof parts[0]];
    size_t count = 0;
    if (in->mac == NULL)
        return err_set(e, ERR_INPUT,
                       "mac is missing: nothing of a message is used before its MAC was verified");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].blob != NULL && read_blob(parts[i].blob, parts[i].usage, &infos[count++], e) != ERR_OK)
            return err_context(e, "%s", parts[i].name);
    t->mak = infos[0];
    t->suite = t->mak.suite == TOK_TDES ? &iso_suite_tdes : &iso_suite_aes;
    return blob_rule_together(t->call, infos, count, e);
}

/* Before the MAC is looked at: a request that is not whole learns nothing of its message. */
static enum err_code read_destination(struct proven *t, struct err *e)
{
    HsmKeyRef destination = POSWARD__HSM__V1__KEY_REF__INIT;
    if (t->in->pin == NULL)
        return ERR_OK;
    destination.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    destination.zone = t->in->pin->destination;
    if (convert_key_ref(&destination, "destination", &t->pin.destination, e) == ERR_OK &&
        convert_pin_format(t->in->pin->destination_format, "destination_format", &t->pin.destination_format,
                           e) == ERR_OK)
        return ERR_OK;
    return err_context(e, "pin");
}

/* ---- The parts, in their order ---- */

static enum err_code prove(struct proven *t, bool *out_matches, struct err *e)
{
    ProtobufCMessage *part = NULL;
    struct tok_mac_request check = {.algorithm = t->mak.mac_algorithm,
                                    .key = blob_ref(t, &t->in->mac->blob),
                                    .data = t->in->message.data,
                                    .len = iso_mac_input_len(&t->message, t->in->message.len)};
    enum tok_grade grade;
    check.mac = iso_view_bytes(&t->message, MAC_FIELD, &check.mac_len);
    if (check.mac == NULL || check.mac_len != t->suite->mac_bytes)
        return err_set(e, ERR_INPUT, "message has no MAC in field 64");
    TRY(case_message(t->call, &posward__hsm__v1__verify_mac_response__descriptor, &part, e));
    t->call->operations++;
    TRY(tok_mac_check(t->call->session, &check, out_matches, &grade, e));
    t->out->mac = (HsmVerifyResponse *)part;
    t->out->mac->matches = *out_matches;
    t->out->mac->grade = convert_grade(grade);
    t->out->mac->reseal_advised = case_is_stale(t->call, &check.key);
    return ERR_OK;
}

static enum err_code decipher_track(struct proven *t, uint8_t out_clear[ISO_TRACK2_CLEAR_MAX], struct err *e)
{
    ProtobufCMessage *part = NULL;
    const struct tok_data_request request = {.mode = TOK_ECB,
                                             .key = blob_ref(t, &t->in->track->blob),
                                             .data = t->card.cipher,
                                             .len = t->card.cipher_len};
    enum tok_grade grade;
    if (t->card.cipher_len == 0)
        return err_set(e, ERR_INPUT, "field 53 says that the track is not enciphered");
    TRY(case_message(t->call, &posward__hsm__v1__decrypt_data_response__descriptor, &part, e));
    t->call->operations++;
    TRY(tok_data_decrypt(t->call->session, &request, out_clear, &grade, e));
    t->out->track = (HsmDecryptResponse *)part;
    t->out->track->grade = convert_grade(grade);
    t->out->track->reseal_advised = case_is_stale(t->call, &request.key);
    return arena_copy(t->call->arena, out_clear, request.len, &t->out->track->data, e);
}

/* The card, whole: fields 2 and 35 agree afterwards. */
static enum err_code read_card(struct proven *t, struct err *e)
{
    uint8_t clear[ISO_TRACK2_CLEAR_MAX];
    size_t len = 0;
    if (iso_card_read(&t->message, t->suite, &t->card, e) != ERR_OK)
        return err_context(e, "message");
    if (t->in->track != NULL) {
        if (decipher_track(t, clear, e) != ERR_OK)
            return err_context(e, "track");
        len = t->card.cipher_len;
    } else if (t->card.track_enciphered) {
        return err_set(e, ERR_INPUT,
                       "track is missing: the message's track is enciphered, and its card number must agree "
                       "with the PIN's");
    }
    enum err_code code = iso_card_complete(&t->card, t->suite, clear, len, e);
    secret_wipe(clear, sizeof clear);
    return code == ERR_OK ? ERR_OK : err_context(e, "message");
}

static enum tok_pin_format block_format(const struct iso_suite *suite)
{
    return suite->pin_format == ISO_PIN_FORMAT_4 ? TOK_PIN_4 : TOK_PIN_0;
}

static enum err_code translate_pin(struct proven *t, struct err *e)
{
    ProtobufCMessage *part = NULL;
    if (t->card.pin_block == NULL)
        return err_set(e, ERR_INPUT, "field 53 says that there is no PIN");
    t->pin.source = blob_ref(t, &t->in->pin->blob);
    t->pin.source_format = block_format(t->suite);
    t->pin.pan = t->card.pan;
    t->pin.block = t->card.pin_block;
    t->pin.block_len = t->card.pin_len;
    TRY(case_message(t->call, &posward__hsm__v1__translate_pin_response__descriptor, &part, e));
    TRY(pin_translate(t->call, &t->pin, (HsmPinResponse *)part, e));
    t->out->pin = (HsmPinResponse *)part;
    return ERR_OK;
}

static enum err_code use_card(struct proven *t, struct err *e)
{
    TRY(read_card(t, e));
    if (t->in->pin != NULL && translate_pin(t, e) != ERR_OK)
        return err_context(e, "pin");
    return ERR_OK;
}

static void sum_up(HsmTransactionResponse *out)
{
    if (out->mac != NULL) {
        out->grade = convert_weaker(out->grade, out->mac->grade);
        out->reseal_advised |= out->mac->reseal_advised;
    }
    if (out->pin != NULL) {
        out->grade = convert_weaker(out->grade, out->pin->grade);
        out->reseal_advised |= out->pin->reseal_advised;
    }
    if (out->track != NULL) {
        out->grade = convert_weaker(out->grade, out->track->grade);
        out->reseal_advised |= out->track->reseal_advised;
    }
}

/* With a MAC that does not match nothing else is done: a forged message learns nothing about its PIN block.
 */
static enum err_code process(struct proven *t, struct err *e)
{
    bool matches = false;
    TRY(read_message(t, e));
    TRY(read_blobs(t, e));
    TRY(read_destination(t, e));
    if (prove(t, &matches, e) != ERR_OK)
        return err_context(e, "mac");
    if (matches && (t->in->pin != NULL || t->in->track != NULL))
        TRY(use_card(t, e));
    sum_up(t->out);
    return ERR_OK;
}

enum err_code case_transaction(struct keeper_call *call, const ProtobufCMessage *request,
                               ProtobufCMessage *response, struct err *e)
{
    AUTO(proven)
    t = {.call = call,
         .in = (const HsmTransactionRequest *)request,
         .out = (HsmTransactionResponse *)response};
    return process(&t, e);
}
