/* The public half of an RSA pair as SubjectPublicKeyInfo. Sources: RFC 5280 4.1, RFC 8017 A.1.1, X.690. */
#include "p11/keys/find.h"
#include "p11/keys/make.h"
#include "p11/object/template.h"
#include "p11/tok.h"
#include "p11/travel/oaep.h"
#include "p11/travel/transport.h"

#include <string.h>

#define DER_INTEGER    0x02
#define DER_BIT_STRING 0x03
#define DER_SEQUENCE   0x30

#define EXPONENT_MOST 8

struct number {
    uint8_t bytes[TOK_RSA_BYTES + 1];
    size_t len;
};

/* Put `len` bytes in front of what stands at the end of the buffer. */
struct writer {
    uint8_t bytes[TOK_SPKI_BYTES + 64];
    size_t at; /* of the first byte */
};

static void prepend(struct writer *w, const void *bytes, size_t len)
{
    w->at -= len;
    memcpy(w->bytes + w->at, bytes, len);
}

static void prepend_head(struct writer *w, uint8_t tag, size_t len)
{
    const uint8_t length[] = {0x82, (uint8_t)(len >> 8), (uint8_t)len};
    const uint8_t medium[] = {0x81, (uint8_t)len};
    const uint8_t brief = (uint8_t)len;
    if (len > 0xFF)
        prepend(w, length, sizeof length);
    else if (len > 0x7F)
        prepend(w, medium, sizeof medium);
    else
        prepend(w, &brief, 1);
    prepend(w, &tag, 1);
}

static void prepend_integer(struct writer *w, const struct number *n)
{
    const uint8_t zero = 0;
    size_t from = 0;
    while (from + 1 < n->len && n->bytes[from] == 0)
        from++;
    const bool pad = (n->bytes[from] & 0x80) != 0;
    prepend(w, n->bytes + from, n->len - from);
    if (pad)
        prepend(w, &zero, 1);
    prepend_head(w, DER_INTEGER, n->len - from + pad);
}

static void write_spki(struct writer *w, const struct number *modulus, const struct number *exponent)
{
    static const uint8_t rsa[] = {0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86,
                                  0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00}; /* rsaEncryption, NULL */
    const uint8_t no_unused_bits = 0;
    w->at = sizeof w->bytes;
    prepend_integer(w, exponent);
    prepend_integer(w, modulus);
    prepend_head(w, DER_SEQUENCE, sizeof w->bytes - w->at);
    prepend(w, &no_unused_bits, 1);
    prepend_head(w, DER_BIT_STRING, sizeof w->bytes - w->at);
    prepend(w, rsa, sizeof rsa);
    prepend_head(w, DER_SEQUENCE, sizeof w->bytes - w->at);
}

/* Numbers of the private key, which is guarded: whoever writes to a token's directory can plant a public
 * object of the same label. */
static enum err_code read_number(struct tok_session *s, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type,
                                 size_t most, struct number *out_number, struct err *e)
{
    CK_ATTRIBUTE row = {type, out_number->bytes, sizeof out_number->bytes};
    TRY(tok_rv(s->fn->C_GetAttributeValue(s->handle, key, &row, 1), "C_GetAttributeValue", e));
    out_number->len = row.ulValueLen;
    return row.ulValueLen > 0 && row.ulValueLen <= most
               ? ERR_OK
               : err_set(e, ERR_UNSUPPORTED, "the token gives a public key of %lu bytes", row.ulValueLen);
}

static enum err_code read_numbers(struct tok_session *s, CK_OBJECT_HANDLE private_key,
                                  struct number *out_modulus, struct number *out_exponent, struct err *e)
{
    TRY(read_number(s, private_key, CKA_MODULUS, sizeof out_modulus->bytes, out_modulus, e));
    return read_number(s, private_key, CKA_PUBLIC_EXPONENT, EXPONENT_MOST, out_exponent, e);
}

enum err_code tok_pair_import_public(struct tok_session *s, CK_OBJECT_HANDLE private_key,
                                     struct tok_object *out_key, struct err *e)
{
    struct number modulus, exponent;
    struct tok_template t = {0};
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(read_numbers(s, private_key, &modulus, &exponent, e));
    tok_template_number(&t, CKA_CLASS, class);
    tok_template_number(&t, CKA_KEY_TYPE, CKK_RSA);
    tok_template_bool(&t, CKA_TOKEN, false);
    tok_template_bool(&t, CKA_ENCRYPT, true);
    tok_template_bytes(&t, CKA_MODULUS, modulus.bytes, modulus.len);
    tok_template_bytes(&t, CKA_PUBLIC_EXPONENT, exponent.bytes, exponent.len);
    TRY(tok_rv(s->fn->C_CreateObject(s->handle, t.rows, t.count, &handle), "C_CreateObject", e));
    *out_key = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

enum err_code tok_pair_spki(struct tok *tok, const struct tok_key_name *name, uint8_t out_der[TOK_SPKI_BYTES],
                            size_t *out_len, struct err *e)
{
    struct number modulus, exponent;
    struct tok_found found;
    struct tok_session *s = NULL;
    struct writer w = {0};
    TRY(tok_keys_find(tok, name, TOK_OPEN, &found, e));
    TRY(tok_session_take(tok, &s, e));
    const enum err_code code = read_numbers(s, found.handle, &modulus, &exponent, e);
    tok_session_give(s);
    TRY(code);
    write_spki(&w, &modulus, &exponent);
    const size_t len = sizeof w.bytes - w.at;
    if (len > TOK_SPKI_BYTES)
        return err_set(e, ERR_UNSUPPORTED, "the token's public key is too large");
    memcpy(out_der, w.bytes + w.at, len);
    *out_len = len;
    return ERR_OK;
}
