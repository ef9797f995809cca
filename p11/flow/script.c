/* A card's TMK as a finished WRITE KEY command. Profile aes here, pboc in script_pboc.c; the card's side of
 * both is in card-emu/psam. */
#include "base/clock.h"

#include "base/terms.h"
#include "p11/flow/blob.h"
#include "p11/flow/diversify.h"
#include "p11/flow/pay.h"

#define CARD_USAGE_TMK 0x05
/* High nibble of a TMK's algorithm byte: 0 wrap version 1, 1 wrap version 2. A card that knows version 1
 * alone refuses what is not 0. */
#define CARD_WRAP_USAGE 0x10
#define COMMAND_HEADER  5 /* CLA INS P1 P2 Lc */
#define CMAC_BYTES      8
#define WRAPPED_MOST    40

struct profile_row {
    const char *name;
    size_t challenge_len;
};
static const struct profile_row profiles[] = {
    [TOK_CARD_AES] = {"aes", TOK_AES_CHALLENGE},
    [TOK_CARD_PBOC] = {"pboc", TOK_PBOC_CHALLENGE},
};
#define PROFILE_ROWS (sizeof profiles / sizeof *profiles)

struct suite_row {
    uint8_t card_algorithm; /* low nibble of a key record's algorithm byte */
    unsigned tmk_bytes;
};
static const struct suite_row suites[] = {
    [TOK_TDES] = {0x00, 16},
    [TOK_AES_128] = {0x02, 16},
    [TOK_AES_256] = {0x03, 32},
};
#define SUITE_ROWS (sizeof suites / sizeof *suites)

static enum err_code check_request(const struct tok_card_request *request, struct err *e)
{
    if ((unsigned)request->profile >= PROFILE_ROWS || profiles[request->profile].name == NULL)
        return err_set(e, ERR_INPUT, "card profile %u is not known", (unsigned)request->profile);
    if ((unsigned)request->suite >= SUITE_ROWS || suites[request->suite].tmk_bytes == 0)
        return err_set(e, ERR_INPUT, "suite %u is not known", (unsigned)request->suite);
    if (request->profile == TOK_CARD_PBOC && request->suite != TOK_TDES)
        return err_set(e, ERR_INPUT, "a card of profile pboc takes a TMK of suite tdes only, not %s",
                       tok_suite_name(request->suite));
    const struct profile_row *profile = &profiles[request->profile];
    if (request->challenge == NULL || request->challenge_len != profile->challenge_len)
        return err_set(e, ERR_INPUT, "a challenge for profile %s has %zu bytes, not %zu", profile->name,
                       profile->challenge_len, request->challenge_len);
    if (request->master_version < 1 || request->master_version > KEY_VERSION_MAX)
        return err_set(e, ERR_INPUT, "master_version %u is not from 1 to %d", request->master_version,
                       KEY_VERSION_MAX);
    if (request->control_version < 1 || request->control_version > KEY_VERSION_MAX)
        return err_set(e, ERR_INPUT, "control_version %u is not from 1 to %d", request->control_version,
                       KEY_VERSION_MAX);
    if (request->wrap_version > TOK_WRAP_MAX ||
        (request->wrap_version == TOK_WRAP_USAGE && request->suite == TOK_TDES))
        return err_set(e, ERR_INPUT, "suite %s has no wrap version %u", tok_suite_name(request->suite),
                       request->wrap_version);
    return ERR_OK;
}

/* ---- profile aes ---- */

enum err_code tok_card_aes(struct tok_session *s, CK_OBJECT_HANDLE control, CK_OBJECT_HANDLE tmk,
                           const uint8_t header[TOK_CARD_HEADER], const uint8_t challenge[TOK_AES_CHALLENGE],
                           struct tok_apdu *out_apdu, struct err *e)
{
    uint8_t wrapped[WRAPPED_MOST];
    CK_ULONG wrapped_len = sizeof wrapped;
    CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0};
    TRY(tok_rv(s->fn->C_WrapKey(s->handle, &key_wrap, control, tmk, wrapped, &wrapped_len), "C_WrapKey", e));

    const size_t data_len = TOK_CARD_HEADER + wrapped_len;
    struct tok_apdu apdu = {.bytes = {0x84, 0xD4, 0x01, 0x00, (uint8_t)(data_len + CMAC_BYTES)}};
    memcpy(apdu.bytes + COMMAND_HEADER, header, TOK_CARD_HEADER);
    memcpy(apdu.bytes + COMMAND_HEADER + TOK_CARD_HEADER, wrapped, wrapped_len);
    apdu.len = COMMAND_HEADER + data_len;

    uint8_t covered[TOK_AES_CHALLENGE + sizeof apdu.bytes], mac[TOK_MAC_BYTES];
    memcpy(covered, challenge, TOK_AES_CHALLENGE);
    memcpy(covered + TOK_AES_CHALLENGE, apdu.bytes, apdu.len);
    const struct tok_mac_key key = {.handle = control, .suite = TOK_AES_128, .key_bytes = 16};
    const struct tok_mac_input input = {.data = covered, .len = TOK_AES_CHALLENGE + apdu.len};
    size_t mac_len;
    TRY(tok_mac_run(s, TOK_MAC_CMAC, &key, &input, mac, &mac_len, e));
    memcpy(apdu.bytes + apdu.len, mac, CMAC_BYTES);
    apdu.len += CMAC_BYTES;
    *out_apdu = apdu;
    return ERR_OK;
}

static enum err_code aes_profile(struct tok_session *s, const struct tok_card_request *request,
                                 CK_OBJECT_HANDLE tmk, const uint8_t header[TOK_CARD_HEADER],
                                 struct tok_apdu *out_apdu, enum tok_grade *out_grade, struct err *e)
{
    const char *way;
    TRY(tok_way_chosen(s->tok, TOK_FLOW_CARD_AES, &way, out_grade, e));
    const struct tok_child_request child = {.psam_number = request->psam_number,
                                            .suite = TOK_AES_128,
                                            .domain = TOK_DOMAIN_CONTROL,
                                            .master_version = request->control_version,
                                            .use = TOK_CHILD_WRAPS};
    AUTO(tok_object) control = {0};
    TRY(tok_derive_child(s, &child, &control, e));
    return tok_card_aes(s, control.handle, tmk, header, request->challenge, out_apdu, e);
}

/* ---- flow ---- */

static enum err_code seal(struct tok_session *s, const struct tok_card_request *request, CK_OBJECT_HANDLE tmk,
                          struct tok_card_script *script, struct err *e)
{
    struct tok_blob_info info = {.suite = request->suite,
                                 .usage = TOK_TMK,
                                 .key_bytes = suites[request->suite].tmk_bytes,
                                 .master_version = request->master_version,
                                 .created_ms = clock_wall_ms(),
                                 .form = TOK_BLOB_FORM};
    memcpy(info.psam_number, request->psam_number, strnlen(request->psam_number, TOK_PSAM_DIGITS));
    const struct tok_blob_keys keys = {.key = tmk};
    return tok_blob_seal(s, keys, &info, script->blob, &script->blob_len, e);
}

enum err_code tok_card_script(struct tok_session *s, const struct tok_card_request *request,
                              struct tok_card_script *out_script, struct err *e)
{
    TRY(check_request(request, e));
    const struct tok_child_request child = {.psam_number = request->psam_number,
                                            .suite = request->suite,
                                            .domain = TOK_DOMAIN_TMK,
                                            .master_version = request->master_version,
                                            .use = TOK_CHILD_MATERIAL};
    AUTO(tok_object) tmk = {0};
    TRY(tok_derive_child(s, &child, &tmk, e));

    const uint8_t wrap = request->wrap_version == TOK_WRAP_USAGE ? CARD_WRAP_USAGE : 0;
    const uint8_t header[TOK_CARD_HEADER] = {CARD_USAGE_TMK, (uint8_t)request->master_version,
                                             (uint8_t)(suites[request->suite].card_algorithm | wrap)};
    struct tok_card_script script = {0};
    struct tok_apdu apdu;
    if (request->profile == TOK_CARD_AES)
        TRY(aes_profile(s, request, tmk.handle, header, &apdu, &script.grade, e));
    else
        TRY(tok_card_pboc(s, request, tmk.handle, header, &apdu, &script.grade, e));
    memcpy(script.apdu, apdu.bytes, apdu.len);
    script.apdu_len = apdu.len;
    TRY(tok_object_kcv(s, tmk.handle, request->suite, script.kcv, sizeof script.kcv, e));
    TRY(seal(s, request, tmk.handle, &script, e));
    *out_script = script;
    return ERR_OK;
}
