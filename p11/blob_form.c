#include "p11/blob.h"

#include "base/hex.h"
#include "base/secret.h"
#include "p11/session.h"

#include <string.h>

static const uint8_t magic[4] = {'P', 'W', 'B', '1'};

enum offset {
    AT_SUITE = 4,
    AT_USAGE,
    AT_KEY_BYTES,
    AT_PARTS,
    AT_DIGITS,
    AT_PSAM,
    AT_MASTER = 19,
    AT_STORAGE,
    AT_TAG,
    AT_CREATED,
    AT_KCV = 30
};

#define PSAM_LEAST_DIGITS 16
#define PSAM_BCD_BYTES    (TOK_PSAM_DIGITS / 2)

/* Which key a blob may hold: anything else is no blob. */
static const struct form_row {
    enum tok_suite suite;
    enum tok_usage usage;
    unsigned key_bytes, most_parts;
} forms[] = {
    {TOK_TDES, TOK_PIK, 8, 1},     {TOK_TDES, TOK_PIK, 16, 1},    {TOK_TDES, TOK_MAK, 8, 1},
    {TOK_TDES, TOK_MAK, 16, 2},    {TOK_TDES, TOK_TDK, 8, 1},     {TOK_TDES, TOK_TDK, 16, 1},
    {TOK_TDES, TOK_TMK, 16, 1},    {TOK_AES_128, TOK_PIK, 16, 1}, {TOK_AES_128, TOK_MAK, 16, 1},
    {TOK_AES_128, TOK_TDK, 16, 1}, {TOK_AES_128, TOK_TMK, 16, 1}, {TOK_AES_256, TOK_PIK, 16, 1},
    {TOK_AES_256, TOK_MAK, 16, 1}, {TOK_AES_256, TOK_TDK, 16, 1}, {TOK_AES_256, TOK_TMK, 32, 1},
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

static bool form_exists(const struct tok_blob_info *info, unsigned parts)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (forms[i].suite == info->suite && forms[i].usage == info->usage &&
            forms[i].key_bytes == info->key_bytes)
            return parts >= 1 && parts <= forms[i].most_parts;
    }
    return false;
}

static bool versions_are_sound(const struct tok_blob_view *view)
{
    return view->info.master_version - 1 < 255 && view->info.storage_version - 1 < 255 &&
           view->tag_version - 1 < 255;
}

/* Digits of the BCD field; false when the padding is not zeros or a nibble is no digit. */
static bool read_psam(const uint8_t *blob, char out_digits[TOK_PSAM_DIGITS + 1])
{
    char all[TOK_PSAM_DIGITS + 1];
    const size_t digits = blob[AT_DIGITS];
    if (digits < PSAM_LEAST_DIGITS || digits > TOK_PSAM_DIGITS)
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

static bool has_magic(const uint8_t *blob)
{
    return secret_equal(blob, magic, sizeof magic);
}

static bool read_head(const uint8_t *blob, struct tok_blob_view *view)
{
    struct tok_blob_info *info = &view->info;
    const uint64_t created = read_u64(blob + AT_CREATED);
    if (!has_magic(blob) || created > INT64_MAX || !read_psam(blob, info->psam_number))
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
    return form_exists(info, view->parts) && versions_are_sound(view);
}

enum err_code tok_blob_parse(const uint8_t *blob, size_t len, struct tok_blob_view *out_view, struct err *e)
{
    struct tok_blob_view view = {0};
    if (blob == NULL || len < TOK_BLOB_HEAD_BYTES || len > TOK_BLOB_BYTES || !read_head(blob, &view))
        return err_set(e, ERR_CHECK, "the key blob is damaged, or was not made by posward");
    view.wrapped_len = tok_blob_held_bytes(view.info.key_bytes) + 8;
    view.tagged_len = TOK_BLOB_HEAD_BYTES + view.parts * view.wrapped_len;
    if (len != view.tagged_len + TOK_BLOB_TAG_BYTES)
        return err_set(e, ERR_CHECK, "the key blob has %zu bytes, not %zu", len,
                       view.tagged_len + TOK_BLOB_TAG_BYTES);
    for (unsigned i = 0; i < view.parts; i++)
        view.wrapped[i] = blob + TOK_BLOB_HEAD_BYTES + i * view.wrapped_len;
    view.tag = blob + view.tagged_len;
    *out_view = view;
    return ERR_OK;
}

enum err_code tok_blob_head(const struct tok_blob_view *view, uint8_t out_head[TOK_BLOB_HEAD_BYTES],
                            struct err *e)
{
    const struct tok_blob_info *info = &view->info;
    uint8_t head[TOK_BLOB_HEAD_BYTES] = {0};
    if (!form_exists(info, view->parts))
        return err_set(e, ERR_INPUT, "no %s of suite %s has %u bytes", tok_usage_name((int)info->usage),
                       tok_suite_name(info->suite), info->key_bytes);
    if (!versions_are_sound(view) || info->created_ms < 0)
        return err_set(e, ERR_INPUT, "key versions of a blob are 1 to 255, and its time is not negative");
    TRY(tok_psam_bcd(info->psam_number, head + AT_PSAM, e));
    memcpy(head, magic, sizeof magic);
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
    memcpy(out_head, head, sizeof head);
    return ERR_OK;
}
