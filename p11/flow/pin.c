/* PIN translation: the rules, the choice of a way, the ways. */
#include "p11/flow/blob.h"
#include "p11/flow/pay.h"
#include "p11/flow/pin_block.h"
#include "p11/object/template.h"

struct pin_format_row {
    unsigned iso;
    bool aes;
};
static const struct pin_format_row pin_formats[] = {
    [TOK_PIN_0] = {0, false},
    [TOK_PIN_1] = {1, false},
    [TOK_PIN_3] = {3, false},
    [TOK_PIN_4] = {4, true},
};
#define PIN_FORMAT_ROWS (sizeof pin_formats / sizeof *pin_formats)

static bool known_format(enum tok_pin_format format)
{
    return format >= TOK_PIN_0 && (unsigned)format < PIN_FORMAT_ROWS;
}

static void add_pan(const char *pan, uint8_t block[AES_BLOCK])
{
    uint8_t field[PIN_BLOCK_LARGEST];
    pin_pan_field(4, pan, field);
    for (size_t i = 0; i < AES_BLOCK; i++)
        block[i] ^= field[i];
}

/* ---- object ways: the PIN is a key ---- */

struct pin_bytes {
    const uint8_t *bytes;
    size_t len;
};

/* A generic secret: a DES type would have its parity changed. openCryptoki refuses to be told that it is
 * extractable, which it is by default there (CKR_ATTRIBUTE_READ_ONLY), and forgets CKA_SENSITIVE, which is
 * set before anything else is done. */
static enum err_code unwrap_pin(struct tok_session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                                const struct pin_bytes *in, struct tok_object *out_pin, struct err *e)
{
    struct tok_template is, sensitive = {0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    CK_BYTE_PTR bytes = (CK_BYTE_PTR)(uintptr_t)in->bytes; /* C_UnwrapKey takes no const */
    tok_template_secret(&is, CKK_GENERIC_SECRET, TOK_USES(CKA_EXTRACTABLE));
    tok_template_number(&is, CKA_VALUE_LEN, in->len);
    CK_RV rv = s->fn->C_UnwrapKey(s->handle, mechanism, key, bytes, in->len, is.rows, is.count, &handle);
    const bool by_default = rv == CKR_ATTRIBUTE_READ_ONLY;
    if (by_default) {
        tok_template_remove(&is, CKA_EXTRACTABLE);
        rv = s->fn->C_UnwrapKey(s->handle, mechanism, key, bytes, in->len, is.rows, is.count, &handle);
    }
    TRY(tok_rv(rv, "C_UnwrapKey", e));
    *out_pin = (struct tok_object){.session = s, .handle = handle};
    tok_template_bool(&sensitive, CKA_SENSITIVE, true);
    return by_default ? tok_rv(s->fn->C_SetAttributeValue(s->handle, handle, sensitive.rows, sensitive.count),
                               "C_SetAttributeValue", e)
                      : ERR_OK;
}

/* Unwrap `block` under one key, wrap it under another, ECB. */
static enum err_code rewrap(struct tok_session *s, const struct tok_pin_job *job, CK_MECHANISM_TYPE ecb,
                            const uint8_t *block, size_t len, uint8_t *out_block, struct err *e)
{
    CK_MECHANISM mechanism = {ecb, NULL, 0};
    const struct pin_bytes in = {block, len};
    AUTO(tok_object) pin = {0};
    TRY(unwrap_pin(s, &mechanism, job->source, &in, &pin, e));
    uint8_t wrapped[PIN_BLOCK_LARGEST];
    CK_ULONG wrapped_len = sizeof wrapped;
    TRY(tok_rv(s->fn->C_WrapKey(s->handle, &mechanism, job->destination, pin.handle, wrapped, &wrapped_len),
               "C_WrapKey", e));
    if (wrapped_len != len)
        return err_set(e, ERR_INTERNAL, "a PIN block of %zu bytes came back with %lu", len, wrapped_len);
    memcpy(out_block, wrapped, len);
    return ERR_OK;
}

enum err_code tok_pin_object_tdes(struct tok_session *s, const struct tok_pin_job *job, uint8_t out_block[16],
                                  struct err *e)
{
    return rewrap(s, job, CKM_DES3_ECB, job->block, DES_BLOCK, out_block, e);
}

/* Format 4 enciphers the PIN field, adds the PAN field, and enciphers again. The block between is a
 * ciphertext, so it may be seen; the PIN field only ever is an object. */
enum err_code tok_pin_object_aes(struct tok_session *s, const struct tok_pin_job *job, uint8_t out_block[16],
                                 struct err *e)
{
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    uint8_t between[AES_BLOCK];
    TRY(tok_decrypt(s, &ecb, job->source, job->block, AES_BLOCK, between, e));
    add_pan(job->pan, between);
    TRY(rewrap(s, job, CKM_AES_ECB, between, AES_BLOCK, between, e));
    add_pan(job->pan, between);
    return tok_encrypt(s, &ecb, job->destination, between, AES_BLOCK, out_block, e);
}

/* ---- block way: this is the one place where a clear PIN block is in our memory ---- */

static enum err_code decipher(struct tok_session *s, const struct tok_pin_job *job, struct secret *out_clear,
                              struct err *e)
{
    TRY(secret_init(out_clear, e));
    if (!pin_formats[job->source_format].aes) {
        CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
        out_clear->len = DES_BLOCK;
        return tok_decrypt(s, &ecb, job->source, job->block, DES_BLOCK, out_clear->bytes, e);
    }
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    uint8_t between[AES_BLOCK];
    TRY(tok_decrypt(s, &ecb, job->source, job->block, AES_BLOCK, between, e));
    add_pan(job->pan, between);
    out_clear->len = AES_BLOCK;
    return tok_decrypt(s, &ecb, job->source, between, AES_BLOCK, out_clear->bytes, e);
}

static enum err_code encipher(struct tok_session *s, const struct tok_pin_job *job,
                              const struct secret *clear, uint8_t out_block[16], struct err *e)
{
    if (!pin_formats[job->destination_format].aes) {
        CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
        return tok_encrypt(s, &ecb, job->destination, clear->bytes, DES_BLOCK, out_block, e);
    }
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    uint8_t between[AES_BLOCK];
    TRY(tok_encrypt(s, &ecb, job->destination, clear->bytes, AES_BLOCK, between, e));
    add_pan(job->pan, between);
    return tok_encrypt(s, &ecb, job->destination, between, AES_BLOCK, out_block, e);
}

enum err_code tok_pin_block(struct tok_session *s, const struct tok_pin_job *job, uint8_t out_block[16],
                            struct err *e)
{
    AUTO(secret) clear = {0};
    AUTO(secret) pin = {0};
    TRY(decipher(s, job, &clear, e));
    /* Same format: the block goes on as it is, unread, as in the object way. Whether it decodes would be an
     * oracle: asked with changed PANs, it gives the digits away (Clulow). A wrong block is the issuer's to
     * refuse. */
    if (job->source_format == job->destination_format)
        return encipher(s, job, &clear, out_block, e);
    TRY(pin_block_decode(pin_formats[job->source_format].iso, job->pan, &clear, &pin, e));
    AUTO(secret) anew = {0};
    uint8_t fill[PIN_FILL_BYTES];
    TRY(tok_random(s, fill, sizeof fill, e));
    const enum err_code code =
        pin_block_encode(pin_formats[job->destination_format].iso, job->pan, &pin, fill, &anew, e);
    secret_wipe(fill, sizeof fill); /* with it a format 4 block could be guessed at */
    TRY(code);
    return encipher(s, job, &anew, out_block, e);
}

/* ---- flow ---- */

static enum err_code check_request(const struct tok_pin_request *request, struct err *e)
{
    if (request->destination.blob != NULL)
        return err_set(e, ERR_DENIED,
                       "a PIN moves to a zone's key only; the destination is a terminal's key blob");
    if (!known_format(request->source_format) || !known_format(request->destination_format))
        return err_set(e, ERR_INPUT, "PIN block formats are 0, 1, 3 and 4");
    TRY(pin_pan_check(request->pan, e));
    if (request->new_pan != NULL) {
        TRY(pin_pan_check(request->new_pan, e));
        if (strcmp(request->pan, request->new_pan) != 0)
            return err_set(e, ERR_DENIED, "a PIN may not move to another PAN (ISO 9564-1:2017 9.4)");
    }
    const unsigned from = pin_formats[request->source_format].iso;
    TRY(pin_rule_check(from, pin_formats[request->destination_format].iso, e));
    if (request->block == NULL || request->block_len != pin_block_bytes(from))
        return err_set(e, ERR_INPUT, "a PIN block of format %u has %zu bytes, not %zu", from,
                       pin_block_bytes(from), request->block_len);
    return ERR_OK;
}

static enum err_code check_suite(enum tok_pin_format format, const struct tok_opened *key, const char *side,
                                 struct err *e)
{
    const struct pin_format_row *row = &pin_formats[format];
    if (row->aes != (key->suite != TOK_TDES))
        return err_set(e, ERR_INPUT, "PIN format %u goes under %s key; the %s key is of suite %s", row->iso,
                       row->aes ? "an AES" : "a TDES", side, tok_suite_name(key->suite));
    return ERR_OK;
}

static enum tok_flow flow_of(const struct tok_pin_request *request)
{
    if (request->source_format != request->destination_format)
        return TOK_FLOW_PIN_FORMAT;
    return pin_formats[request->source_format].aes ? TOK_FLOW_PIN_AES : TOK_FLOW_PIN_TDES;
}

enum err_code tok_pin_translate(struct tok_session *s, const struct tok_pin_request *request,
                                uint8_t out_block[16], size_t *out_len, enum tok_grade *out_grade,
                                struct err *e)
{
    TRY(check_request(request, e));
    AUTO(tok_opened) source = {0};
    AUTO(tok_opened) destination = {0};
    const struct tok_need opens = {TOK_PIK, TOK_ZONE_PIN, TOK_OPEN},
                          seals = {.zone_role = TOK_ZONE_PIN, .purpose = TOK_PROTECT};
    TRY(tok_open_ref(s, &request->source, &opens, &source, e));
    TRY(check_suite(request->source_format, &source, "source", e));
    TRY(tok_open_ref(s, &request->destination, &seals, &destination, e));
    TRY(check_suite(request->destination_format, &destination, "destination", e));

    const enum tok_flow flow = flow_of(request);
    const char *way;
    enum tok_grade grade;
    TRY(tok_way_chosen(s->tok, flow, &way, &grade, e));
    const struct tok_pin_job job = {source.handle,          destination.handle,
                                    request->source_format, request->destination_format,
                                    request->pan,           request->block};
    if (!tok_way_is(way, "object"))
        TRY(tok_pin_block(s, &job, out_block, e));
    else if (flow == TOK_FLOW_PIN_AES)
        TRY(tok_pin_object_aes(s, &job, out_block, e));
    else
        TRY(tok_pin_object_tdes(s, &job, out_block, e));
    *out_len = pin_block_bytes(pin_formats[request->destination_format].iso);
    *out_grade = grade;
    return ERR_OK;
}
