#include "p11/flow/diversify.h"

#include "base/hex.h"
#include "base/terms.h"
#include "p11/flow/flows.h"
#include "p11/keys/find.h"
#include "p11/object/template.h"

#include <string.h>

#define FACTOR_DIGITS   16
#define AES_BLOCK_BYTES 16
#define PSAM_BCD_BYTES  (TOK_PSAM_DIGITS / 2)
#define KEK_DOMAIN      0x03 /* beside the domains of enum tok_child_domain */

enum err_code tok_check_psam_number(const char *psam_number, struct err *e)
{
    const size_t digits = psam_number != NULL ? strnlen(psam_number, TOK_PSAM_DIGITS + 1) : 0;
    if (digits < PSAM_DIGITS_MIN || digits > TOK_PSAM_DIGITS || !digits_only(psam_number, digits))
        return err_set(e, ERR_INPUT, "a PSAM number has %d to %d decimal digits", PSAM_DIGITS_MIN,
                       TOK_PSAM_DIGITS);
    return ERR_OK;
}

enum err_code tok_psam_bcd(const char *psam_number, uint8_t out_bcd[PSAM_BCD_BYTES], struct err *e)
{
    char padded[TOK_PSAM_DIGITS + 1];
    TRY(tok_check_psam_number(psam_number, e));
    const size_t digits = strlen(psam_number);
    memset(padded, '0', TOK_PSAM_DIGITS);
    memcpy(padded + TOK_PSAM_DIGITS - digits, psam_number, digits + 1);
    return bcd_encode(padded, TOK_PSAM_DIGITS, out_bcd, e);
}

/* f || ~f, f the rightmost 16 digits; f || f makes both halves the left one. */
static enum err_code tdes_data(const struct tok_child_request *request, uint8_t out_data[16], struct err *e)
{
    const size_t digits = strlen(request->psam_number);
    TRY(bcd_encode(request->psam_number + digits - FACTOR_DIGITS, FACTOR_DIGITS, out_data, e));
    for (size_t i = 0; i < 8; i++)
        out_data[8 + i] = request->left_half ? out_data[i] : (uint8_t)~out_data[i];
    return ERR_OK;
}

/* One block for AES-128, two for AES-256: domain, block number, child key bytes, 00 00 00, the PSAM number in
 * BCD. */
static enum err_code aes_data(const struct tok_child_request *request, size_t len, uint8_t *out_data,
                              struct err *e)
{
    uint8_t bcd[PSAM_BCD_BYTES];
    TRY(tok_psam_bcd(request->psam_number, bcd, e));
    for (size_t at = 0; at < len; at += AES_BLOCK_BYTES) {
        uint8_t *block = out_data + at;
        memset(block, 0, AES_BLOCK_BYTES);
        block[0] = (uint8_t)request->domain;
        block[1] = (uint8_t)(at / AES_BLOCK_BYTES + 1);
        block[2] = (uint8_t)len;
        memcpy(block + AES_BLOCK_BYTES - PSAM_BCD_BYTES, bcd, PSAM_BCD_BYTES);
    }
    return ERR_OK;
}

static const CK_ATTRIBUTE_TYPE *child_uses(enum tok_child_use use, bool tdes)
{
    static const CK_ATTRIBUTE_TYPE wraps_tdes[] = {CKA_WRAP, CKA_UNWRAP,  CKA_DERIVE,
                                                   CKA_SIGN, CKA_ENCRYPT, CK_UNAVAILABLE_INFORMATION};
    static const CK_ATTRIBUTE_TYPE wraps_aes[] = {CKA_WRAP, CKA_UNWRAP, CKA_SIGN, CK_UNAVAILABLE_INFORMATION};
    static const CK_ATTRIBUTE_TYPE material_tdes[] = {CKA_EXTRACTABLE, CKA_DERIVE, CKA_ENCRYPT,
                                                      CK_UNAVAILABLE_INFORMATION};
    static const CK_ATTRIBUTE_TYPE material_aes[] = {CKA_EXTRACTABLE, CKA_SIGN, CK_UNAVAILABLE_INFORMATION};
    static const CK_ATTRIBUTE_TYPE derives[] = {CKA_DERIVE, CK_UNAVAILABLE_INFORMATION};
    if (use == TOK_CHILD_DERIVES)
        return derives;
    if (use == TOK_CHILD_WRAPS)
        return tdes ? wraps_tdes : wraps_aes;
    return tdes ? material_tdes : material_aes;
}

enum err_code tok_derive_child(struct tok_session *s, const struct tok_child_request *request,
                               struct tok_object *out_child, struct err *e)
{
    const bool tdes = request->suite == TOK_TDES;
    const bool control = request->domain == TOK_DOMAIN_CONTROL;
    uint8_t data[2 * AES_BLOCK_BYTES];
    /* A card's AES control key is AES-128 for both AES suites. */
    const size_t len = request->suite == TOK_AES_256 && !control ? 32 : 16;
    if (request->left_half && !tdes)
        return err_set(e, ERR_INTERNAL, "an AES key has no left half");
    if (request->master_version == 0)
        return err_set(e, ERR_INPUT, "the version of the master key is missing");
    TRY(tok_check_psam_number(request->psam_number, e));
    TRY(tok_flow_works(s->tok, tdes ? TOK_FLOW_DIVERSIFY_TDES : TOK_FLOW_DIVERSIFY_AES, e));
    if (tdes)
        TRY(tdes_data(request, data, e));
    else
        TRY(aes_data(request, len, data, e));
    const struct tok_key_name master = {.role = control ? TOK_CARD_CONTROL : TOK_PSAM_MASTER,
                                        .suite = tdes ? TOK_TDES : TOK_AES_256,
                                        .version = request->master_version};
    struct tok_found found;
    TRY(tok_keys_find(s->tok, &master, TOK_PROTECT, &found, e));
    const struct tok_derive_request derive = {.base_suite = master.suite,
                                              .base = found.handle,
                                              .data = data,
                                              .len = len,
                                              .type = tdes ? CKK_DES2 : CKK_AES,
                                              .uses = child_uses(request->use, tdes)};
    return tok_derive_data(s, &derive, out_child, e);
}

/* ---- Key-encryption keys of wrap version 2 ---- */

/* What the card calls a usage: the first byte of WRITE WORKING KEY. */
static const uint8_t card_usage[] = {[TOK_PIK] = 0x0D, [TOK_MAK] = 0x06, [TOK_TDK] = 0x07};

/* KEK = E(TMK, block 1) for AES-128, E(TMK, block 1 || block 2) for AES-256, in ECB mode. A block is
 *   03 | block number 01, 02 | bytes of the KEK 10, 20 | the card's usage byte 0D, 06, 07 | 12 zero bytes
 * Domain 03 is none of those that a master key enciphers; the card's number is in its TMK. */
enum err_code tok_derive_kek(struct tok_session *s, CK_OBJECT_HANDLE tmk, enum tok_suite suite, int usage,
                             struct tok_object *out_kek, struct err *e)
{
    static const CK_ATTRIBUTE_TYPE wraps[] = {CKA_WRAP, CK_UNAVAILABLE_INFORMATION};
    uint8_t data[2 * AES_BLOCK_BYTES] = {0};
    const size_t len = suite == TOK_AES_256 ? 32 : 16;
    if (suite == TOK_TDES || usage < TOK_PIK || usage > TOK_TDK)
        return err_set(e, ERR_INTERNAL, "no key-encryption key for usage %d of suite %s", usage,
                       tok_suite_name(suite));
    for (size_t at = 0; at < len; at += AES_BLOCK_BYTES) {
        data[at] = KEK_DOMAIN;
        data[at + 1] = (uint8_t)(at / AES_BLOCK_BYTES + 1);
        data[at + 2] = (uint8_t)len;
        data[at + 3] = card_usage[usage];
    }
    const struct tok_derive_request derive = {
        .base_suite = suite, .base = tmk, .data = data, .len = len, .type = CKK_AES, .uses = wraps};
    return tok_derive_data(s, &derive, out_kek, e);
}
