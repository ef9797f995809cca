#include "p11/flow/blob_form.h"

#include "base/hex.h"
#include "base/secret.h"
#include "base/terms.h"
#include "p11/flow/diversify.h"
#include "p11/module/session.h"

#include <string.h>

static const uint8_t magic[3] = {'P', 'W', 'B'};

enum offset {
    AT_FORM = 3, /* '1' or '2' */
    AT_SUITE,
    AT_USAGE,
    AT_KEY_BYTES,
    AT_PARTS,
    AT_DIGITS,
    AT_PSAM,
    AT_MASTER = 19,
    AT_STORAGE,
    AT_TAG,
    AT_CREATED,
    AT_KCV = 30,
    AT_MAC = 34,
    AT_SIGN_IN
};

#define PSAM_BCD_BYTES (TOK_PSAM_DIGITS / 2)

/* Algorithms as bits. */
#define MAC_BIT(algorithm) (1U << (unsigned)(algorithm))
#define NO_MAC             MAC_BIT(0)
#define TDES_MACS                                                                                            \
    (MAC_BIT(TOK_MAC_UNIONPAY) | MAC_BIT(TOK_MAC_X9_19) | MAC_BIT(TOK_MAC_ALG1_PAD2) |                       \
     MAC_BIT(TOK_MAC_ALG1_PAD1) | MAC_BIT(TOK_MAC_ALG3_PAD2))
#define SINGLE_MACS (TDES_MACS | MAC_BIT(TOK_MAC_X9_9))
#define AES_MACS    MAC_BIT(TOK_MAC_CMAC)

/* Which key a blob may hold: anything else is no blob. */
static const struct form_row {
    enum tok_suite suite;
    enum tok_usage usage;
    unsigned key_bytes, most_parts, macs;
} forms[] = {
    {TOK_TDES, TOK_PIK, 8, 1, NO_MAC},       {TOK_TDES, TOK_PIK, 16, 1, NO_MAC},
    {TOK_TDES, TOK_MAK, 8, 1, SINGLE_MACS},  {TOK_TDES, TOK_MAK, 16, 2, TDES_MACS},
    {TOK_TDES, TOK_TDK, 8, 1, NO_MAC},       {TOK_TDES, TOK_TDK, 16, 1, NO_MAC},
    {TOK_TDES, TOK_TMK, 16, 1, NO_MAC},      {TOK_AES_128, TOK_PIK, 16, 1, NO_MAC},
    {TOK_AES_128, TOK_MAK, 16, 1, AES_MACS}, {TOK_AES_128, TOK_TDK, 16, 1, NO_MAC},
    {TOK_AES_128, TOK_TMK, 16, 1, NO_MAC},   {TOK_AES_256, TOK_PIK, 16, 1, NO_MAC},
    {TOK_AES_256, TOK_MAK, 16, 1, AES_MACS}, {TOK_AES_256, TOK_TDK, 16, 1, NO_MAC},
    {TOK_AES_256, TOK_TMK, 32, 1, NO_MAC},
};

static const char *const usages[] = {
    [TOK_PIK] = "PIK", [TOK_MAK] = "MAK", [TOK_TDK] = "TDK", [TOK_TMK] = "TMK"};

const char *tok_usage_name(int usage)
{
    return usage >= TOK_PIK && usage <= TOK_TMK ? usages[usage] : "unknown usage";
}

size_t tok_blob_held_bytes(unsigned key_bytes)
{
    return key_bytes == 8 ? 16 : key_bytes;
}

size_t tok_blob_head_bytes(unsigned form)
{
    return form == 1 ? AT_MAC : AT_SIGN_IN + TOK_SIGN_IN_BYTES;
}

static const struct form_row *find_form(enum tok_suite suite, enum tok_usage usage, unsigned key_bytes)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (forms[i].suite == suite && forms[i].usage == usage && forms[i].key_bytes == key_bytes)
            return &forms[i];
    return NULL;
}

static bool mac_fits(const struct form_row *row, enum tok_mac algorithm)
{
    return algorithm <= TOK_MAC_CMAC && (row->macs & MAC_BIT(algorithm)) != 0;
}

bool tok_mac_fits(enum tok_suite suite, unsigned key_bytes, enum tok_mac algorithm)
{
    const struct form_row *const row = find_form(suite, TOK_MAK, key_bytes);
    return row != NULL && mac_fits(row, algorithm);
}

enum tok_mac tok_mac_of_suite(enum tok_suite suite)
{
    return suite == TOK_TDES ? TOK_MAC_UNIONPAY : TOK_MAC_CMAC;
}

static bool form_exists(const struct tok_blob_info *info, unsigned parts)
{
    const struct form_row *const row = find_form(info->suite, info->usage, info->key_bytes);
    return row != NULL && parts >= 1 && parts <= row->most_parts;
}

/* Form 1 does not say it, so it has one value there. */
static enum tok_mac form_1_mac(const struct tok_blob_info *info)
{
    return info->usage == TOK_MAK ? tok_mac_of_suite(info->suite) : (enum tok_mac)0;
}

/* MAC algorithm and sign-in id, of a form that exists. */
static bool binding_is_sound(const struct tok_blob_info *info)
{
    static const uint8_t zeros[TOK_SIGN_IN_BYTES];
    const bool signed_in = !secret_equal(info->sign_in, zeros, sizeof zeros);
    if (info->form == 1)
        return !signed_in && info->mac_algorithm == form_1_mac(info);
    return info->form == 2 && signed_in == (info->usage != TOK_TMK) &&
           mac_fits(find_form(info->suite, info->usage, info->key_bytes), info->mac_algorithm);
}

static bool versions_are_sound(const struct tok_blob_view *view)
{
    return view->info.master_version - 1 < KEY_VERSION_MAX &&
           view->info.storage_version - 1 < KEY_VERSION_MAX && view->tag_version - 1 < KEY_VERSION_MAX;
}

/* Digits of the BCD field; false when the padding is not zeros or a nibble is no digit. */
static bool read_psam(const uint8_t *blob, char out_digits[TOK_PSAM_DIGITS + 1])
{
    char all[TOK_PSAM_DIGITS + 1];
    const size_t digits = blob[AT_DIGITS];
    if (digits < PSAM_DIGITS_MIN || digits > TOK_PSAM_DIGITS)
        return false;
    hex_encode(blob + AT_PSAM, PSAM_BCD_BYTES, all);
    const size_t padding = TOK_PSAM_DIGITS - digits;
    if (!digits_only(all, TOK_PSAM_DIGITS) || strspn(all, "0") < padding)
        return false;
    memcpy(out_digits, all + padding, digits + 1);
    return true;
}

static uint64_t read_u64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* 1 or 2; 0: no blob's beginning, or less than a head. */
static unsigned read_form(const uint8_t *blob, size_t len)
{
    if (blob == NULL || len < AT_MAC || len > TOK_BLOB_BYTES || !secret_equal(blob, magic, sizeof magic))
        return 0;
    const unsigned form = (unsigned)blob[AT_FORM] - '0';
    return (form == 1 || form == 2) && len >= tok_blob_head_bytes(form) ? form : 0;
}

static bool read_head(const uint8_t *blob, struct tok_blob_view *view)
{
    struct tok_blob_info *info = &view->info;
    const uint64_t created = read_u64(blob + AT_CREATED);
    if (created > INT64_MAX || !read_psam(blob, info->psam_number))
        return false;
    info->suite = (enum tok_suite)blob[AT_SUITE];
    info->usage = (enum tok_usage)blob[AT_USAGE];
    info->key_bytes = blob[AT_KEY_BYTES];
    view->parts = blob[AT_PARTS];
    info->master_version = blob[AT_MASTER];
    info->storage_version = blob[AT_STORAGE];
    view->tag_version = blob[AT_TAG];
    info->created_ms = (int64_t)created;
    memcpy(info->kcv, blob + AT_KCV, sizeof info->kcv);
    if (info->form == 1) {
        info->mac_algorithm = form_1_mac(info);
    } else {
        info->mac_algorithm = (enum tok_mac)blob[AT_MAC];
        memcpy(info->sign_in, blob + AT_SIGN_IN, sizeof info->sign_in);
    }
    return form_exists(info, view->parts) && binding_is_sound(info) && versions_are_sound(view);
}

enum err_code tok_blob_parse(const uint8_t *blob, size_t len, struct tok_blob_view *out_view, struct err *e)
{
    struct tok_blob_view view = {.info.form = read_form(blob, len)};
    if (view.info.form == 0 || !read_head(blob, &view))
        return err_set(e, ERR_CHECK, "the key blob is damaged, or was not made by posward");
    const size_t head_bytes = tok_blob_head_bytes(view.info.form);
    view.wrapped_len = tok_blob_held_bytes(view.info.key_bytes) + 8;
    view.tagged_len = head_bytes + view.parts * view.wrapped_len;
    if (len != view.tagged_len + TOK_BLOB_TAG_BYTES)
        return err_set(e, ERR_CHECK, "the key blob has %zu bytes, not %zu", len,
                       view.tagged_len + TOK_BLOB_TAG_BYTES);
    for (unsigned i = 0; i < view.parts; i++)
        view.wrapped[i] = blob + head_bytes + i * view.wrapped_len;
    view.tag = blob + view.tagged_len;
    *out_view = view;
    return ERR_OK;
}

enum err_code tok_blob_peek(const uint8_t *blob, size_t len, struct tok_blob_info *out_info, struct err *e)
{
    struct tok_blob_view view;
    TRY(tok_blob_parse(blob, len, &view, e));
    *out_info = view.info;
    return ERR_OK;
}

enum err_code tok_blob_head(const struct tok_blob_view *view, uint8_t out_head[TOK_BLOB_HEAD_MAX],
                            struct err *e)
{
    const struct tok_blob_info *info = &view->info;
    uint8_t head[TOK_BLOB_HEAD_MAX] = {0};
    if (!form_exists(info, view->parts))
        return err_set(e, ERR_INPUT, "no %s of suite %s has %u bytes", tok_usage_name((int)info->usage),
                       tok_suite_name(info->suite), info->key_bytes);
    if (!binding_is_sound(info))
        return err_set(e, ERR_INPUT, "no %s blob of form %u has this MAC algorithm or sign-in id",
                       tok_usage_name((int)info->usage), info->form);
    if (!versions_are_sound(view) || info->created_ms < 0)
        return err_set(e, ERR_INPUT, "key versions of a blob are 1 to 255, and its time is not negative");
    TRY(tok_psam_bcd(info->psam_number, head + AT_PSAM, e));
    memcpy(head, magic, sizeof magic);
    head[AT_FORM] = (uint8_t)('0' + info->form);
    head[AT_SUITE] = (uint8_t)info->suite;
    head[AT_USAGE] = (uint8_t)info->usage;
    head[AT_KEY_BYTES] = (uint8_t)info->key_bytes;
    head[AT_PARTS] = (uint8_t)view->parts;
    head[AT_DIGITS] = (uint8_t)strlen(info->psam_number);
    head[AT_MASTER] = (uint8_t)info->master_version;
    head[AT_STORAGE] = (uint8_t)info->storage_version;
    head[AT_TAG] = (uint8_t)view->tag_version;
    for (size_t i = 0; i < 8; i++)
        head[AT_CREATED + i] = (uint8_t)((uint64_t)info->created_ms >> (56 - 8 * i));
    memcpy(head + AT_KCV, info->kcv, sizeof info->kcv);
    head[AT_MAC] = (uint8_t)info->mac_algorithm;
    memcpy(head + AT_SIGN_IN, info->sign_in, sizeof info->sign_in);
    memcpy(out_head, head, tok_blob_head_bytes(info->form));
    return ERR_OK;
}
