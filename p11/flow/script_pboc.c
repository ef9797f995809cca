/* WRITE KEY in the published layout: LD || usage version algorithm || TMK || 80 00 00 00, 3DES-ECB under the
 * card's control key, MAC of 4 bytes by ISO 9797-1 algorithm 3. Source: PBOC 3.0 part 1, secure messaging. */
#include "base/hex.h"
#include "p11/flow/diversify.h"
#include "p11/flow/pay.h"
#include "p11/keys/find.h"
#include "p11/object/template.h"

#define TMK_BYTES      16
#define COMMAND_HEADER 5
#define MAC_BYTES      4
#define PREFIX_BYTES   (1 + TOK_CARD_HEADER)
#define FACTOR_DIGITS  16

static void lay_prefix(const uint8_t header[TOK_CARD_HEADER], uint8_t out_prefix[PREFIX_BYTES])
{
    out_prefix[0] = TOK_CARD_HEADER + TMK_BYTES; /* LD */
    memcpy(out_prefix + 1, header, TOK_CARD_HEADER);
}

static const uint8_t padding[] = {0x80, 0, 0, 0};
_Static_assert(sizeof padding <= PREFIX_BYTES, "join() copies either");
_Static_assert(PREFIX_BYTES + TMK_BYTES + sizeof padding == TOK_PBOC_CIPHERTEXT, "three DES blocks");

/* ---- concat way: the token joins the bytes around the key ---- */

static enum err_code join(struct tok_session *s, CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE base,
                          const uint8_t *data, size_t len, size_t joined_len, struct tok_object *out_joined,
                          struct err *e)
{
    uint8_t added[PREFIX_BYTES]; /* the mechanism takes no const */
    memcpy(added, data, len);
    CK_KEY_DERIVATION_STRING_DATA string = {added, len};
    CK_MECHANISM derive = {mechanism, &string, sizeof string};
    struct tok_template is;
    tok_template_secret(&is, CKK_GENERIC_SECRET, TOK_USES(CKA_EXTRACTABLE, CKA_DERIVE));
    tok_template_number(&is, CKA_VALUE_LEN, joined_len);
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(s->fn->C_DeriveKey(s->handle, &derive, base, is.rows, is.count, &handle), "C_DeriveKey", e));
    *out_joined = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

enum err_code tok_card_pboc_concat(struct tok_session *s, CK_OBJECT_HANDLE control, CK_OBJECT_HANDLE tmk,
                                   const uint8_t header[TOK_CARD_HEADER],
                                   uint8_t out_cipher[TOK_PBOC_CIPHERTEXT], struct err *e)
{
    uint8_t prefix[PREFIX_BYTES];
    lay_prefix(header, prefix);
    AUTO(tok_object) headed = {0};
    AUTO(tok_object) whole = {0};
    TRY(join(s, CKM_CONCATENATE_DATA_AND_BASE, tmk, prefix, sizeof prefix, PREFIX_BYTES + TMK_BYTES, &headed,
             e));
    TRY(join(s, CKM_CONCATENATE_BASE_AND_DATA, headed.handle, padding, sizeof padding, TOK_PBOC_CIPHERTEXT,
             &whole, e));
    CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
    uint8_t wrapped[TOK_PBOC_CIPHERTEXT];
    CK_ULONG len = sizeof wrapped;
    TRY(tok_rv(s->fn->C_WrapKey(s->handle, &ecb, control, whole.handle, wrapped, &len), "C_WrapKey", e));
    if (len != sizeof wrapped)
        return err_set(e, ERR_INTERNAL, "24 bytes were wrapped to %lu", len);
    memcpy(out_cipher, wrapped, sizeof wrapped);
    return ERR_OK;
}

/* ---- clear way: the TMK is in our memory while it is enciphered, here and nowhere else ---- */

static enum err_code derive_readable(struct tok_session *s, CK_OBJECT_HANDLE master,
                                     const uint8_t factor[DES_BLOCK], struct tok_object *out_tmk,
                                     struct err *e)
{
    uint8_t data[TMK_BYTES];
    for (size_t i = 0; i < DES_BLOCK; i++) {
        data[i] = factor[i];
        data[DES_BLOCK + i] = (uint8_t)~factor[i];
    }
    CK_KEY_DERIVATION_STRING_DATA string = {data, sizeof data};
    CK_MECHANISM derive = {CKM_DES3_ECB_ENCRYPT_DATA, &string, sizeof string};
    struct tok_template is;
    tok_template_secret(&is, CKK_DES2, TOK_USES(CKA_EXTRACTABLE));
    tok_template_bool(&is, CKA_SENSITIVE, false);
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(s->fn->C_DeriveKey(s->handle, &derive, master, is.rows, is.count, &handle), "C_DeriveKey", e));
    *out_tmk = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

enum err_code tok_card_pboc_clear(struct tok_session *s, CK_OBJECT_HANDLE control, CK_OBJECT_HANDLE master,
                                  const uint8_t factor[DES_BLOCK], const uint8_t header[TOK_CARD_HEADER],
                                  uint8_t out_cipher[TOK_PBOC_CIPHERTEXT], struct err *e)
{
    AUTO(tok_object) tmk = {0};
    AUTO(secret) record = {0};
    TRY(derive_readable(s, master, factor, &tmk, e));
    TRY(secret_init(&record, e));
    record.len = TOK_PBOC_CIPHERTEXT;
    lay_prefix(header, record.bytes);
    CK_ATTRIBUTE value = {CKA_VALUE, record.bytes + PREFIX_BYTES, TMK_BYTES};
    TRY(tok_rv(s->fn->C_GetAttributeValue(s->handle, tmk.handle, &value, 1), "C_GetAttributeValue", e));
    if (value.ulValueLen != TMK_BYTES)
        return err_set(e, ERR_INTERNAL, "a derived TMK has %lu bytes", value.ulValueLen);
    memcpy(record.bytes + PREFIX_BYTES + TMK_BYTES, padding, sizeof padding);
    CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
    return tok_encrypt(s, &ecb, control, record.bytes, record.len, out_cipher, e);
}

/* ---- command ---- */

enum err_code tok_card_pboc_command(struct tok_session *s, const struct tok_mac_key *control,
                                    const uint8_t cipher[TOK_PBOC_CIPHERTEXT],
                                    const uint8_t challenge[TOK_PBOC_CHALLENGE], struct tok_apdu *out_apdu,
                                    struct err *e)
{
    struct tok_apdu apdu = {.bytes = {0x84, 0xD4, 0x00, 0x00, TOK_PBOC_CIPHERTEXT + MAC_BYTES}};
    memcpy(apdu.bytes + COMMAND_HEADER, cipher, TOK_PBOC_CIPHERTEXT);
    apdu.len = COMMAND_HEADER + TOK_PBOC_CIPHERTEXT;
    uint8_t iv[DES_BLOCK] = {0}, mac[TOK_MAC_BYTES];
    memcpy(iv, challenge, TOK_PBOC_CHALLENGE);
    const struct tok_mac_input input = {.iv = iv, .data = apdu.bytes, .len = apdu.len};
    size_t mac_len;
    TRY(tok_mac_run(s, TOK_MAC_ALG3_PAD2, control, &input, mac, &mac_len, e));
    memcpy(apdu.bytes + apdu.len, mac, MAC_BYTES);
    apdu.len += MAC_BYTES;
    *out_apdu = apdu;
    return ERR_OK;
}

static enum err_code clear_cipher(struct tok_session *s, const struct tok_card_request *request,
                                  CK_OBJECT_HANDLE control, const uint8_t header[TOK_CARD_HEADER],
                                  uint8_t out_cipher[TOK_PBOC_CIPHERTEXT], struct err *e)
{
    const struct tok_key_name name = {
        .role = TOK_PSAM_MASTER, .suite = TOK_TDES, .version = request->master_version};
    struct tok_found master;
    TRY(tok_keys_find(s->tok, &name, TOK_PROTECT, &master, e));
    uint8_t factor[DES_BLOCK];
    const size_t digits = strlen(request->psam_number); /* tok_derive_child has checked it */
    TRY(bcd_encode(request->psam_number + digits - FACTOR_DIGITS, FACTOR_DIGITS, factor, e));
    return tok_card_pboc_clear(s, control, master.handle, factor, header, out_cipher, e);
}

enum err_code tok_card_pboc(struct tok_session *s, const struct tok_card_request *request,
                            CK_OBJECT_HANDLE tmk, const uint8_t header[TOK_CARD_HEADER],
                            struct tok_apdu *out_apdu, enum tok_grade *out_grade, struct err *e)
{
    const char *way;
    TRY(tok_way_chosen(s->tok, TOK_FLOW_CARD_PBOC, &way, out_grade, e));
    struct tok_child_request child = {.psam_number = request->psam_number,
                                      .suite = TOK_TDES,
                                      .domain = TOK_DOMAIN_CONTROL,
                                      .master_version = request->control_version,
                                      .use = TOK_CHILD_WRAPS};
    AUTO(tok_object) control = {0};
    AUTO(tok_object) control_left = {0};
    TRY(tok_derive_child(s, &child, &control, e));
    child.left_half = true;
    TRY(tok_derive_child(s, &child, &control_left, e));

    uint8_t cipher[TOK_PBOC_CIPHERTEXT];
    if (tok_way_is(way, "concat"))
        TRY(tok_card_pboc_concat(s, control.handle, tmk, header, cipher, e));
    else
        TRY(clear_cipher(s, request, control.handle, header, cipher, e));
    struct tok_left left;
    tok_left_pair(control_left.handle, &left);
    const struct tok_mac_key key = {control.handle, TOK_TDES, TMK_BYTES, &left};
    return tok_card_pboc_command(s, &key, cipher, request->challenge, out_apdu, e);
}
