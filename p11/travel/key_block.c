#include "p11/travel/key_block.h"

#include "base/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_AT        1
#define LENGTH_DIGITS    4
#define USAGE_AT         5
#define ALGORITHM_AT     7
#define MODE_AT          8
#define KEY_VERSION_AT   9
#define EXPORTABILITY_AT 11
#define OPTIONAL_AT      12
#define CONTEXT_AT       14
#define RESERVED_AT      15
#define ID_CHARACTERS    2
#define OPTIONAL_HEAD    4 /* id and length of an optional block */
#define PADDING_ID       "PB"
#define CONTEXT_STORAGE  '1'

static bool is_header_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

static bool is_alphanumeric(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'A' && text[i] <= 'Z') &&
            !(text[i] >= 'a' && text[i] <= 'z'))
            return false;
    return true;
}

static bool read_hex_number(const char *text, size_t digits, size_t *out_number)
{
    size_t number = 0;
    for (size_t i = 0; i < digits; i++) {
        const int digit = hex_digit(text[i]);
        if (digit < 0)
            return false;
        number = number << 4 | (size_t)digit;
    }
    *out_number = number;
    return true;
}

/* One optional block at `at` of `left` characters: its length, head included, and where its data begins.
 * Length "00" means that the length of the length and the length itself follow. */
static bool measure_optional(const char *at, size_t left, size_t *out_len, size_t *out_data_at)
{
    size_t len = 0, digits = 0;
    if (left < OPTIONAL_HEAD || !read_hex_number(at + 2, 2, &len))
        return false;
    *out_data_at = OPTIONAL_HEAD;
    if (len == 0) {
        if (left < OPTIONAL_HEAD + 2 || !read_hex_number(at + OPTIONAL_HEAD, 2, &digits) || digits == 0 ||
            digits > 4 || left < OPTIONAL_HEAD + 2 + digits ||
            !read_hex_number(at + OPTIONAL_HEAD + 2, digits, &len))
            return false;
        *out_data_at = OPTIONAL_HEAD + 2 + digits;
    }
    *out_len = len;
    return len >= *out_data_at && len <= left;
}

/* X9.143: an identifier is two letters or digits and comes once; padding comes behind all others. */
static enum err_code check_optional_id(const char *id, const struct key_block *b, size_t number,
                                       struct err *e)
{
    const size_t before = number - 1;
    if (!is_alphanumeric(id, ID_CHARACTERS))
        return err_set(e, ERR_INPUT,
                       "header: the identifier of optional block %zu is not two letters or digits", number);
    for (size_t i = 0; i < before; i++)
        if (strncmp(b->header.optional[i], id, ID_CHARACTERS) == 0)
            return err_set(e, ERR_INPUT, "header: optional block %.2s comes more than once", id);
    if (before > 0 && strncmp(b->header.optional[before - 1], PADDING_ID, ID_CHARACTERS) == 0)
        return err_set(e, ERR_INPUT,
                       "header: optional block %.2s comes behind " PADDING_ID ", which is the last", id);
    return ERR_OK;
}

/* The one at `at`, which becomes number 1, 2, ... */
static enum err_code read_one_optional(const char *at, size_t left, size_t number, struct key_block *b,
                                       size_t *out_len, struct err *e)
{
    size_t len = 0, data_at = 0;
    if (!measure_optional(at, left, &len, &data_at) || !is_header_text(at, len))
        return err_set(e, ERR_INPUT, "header: optional block %zu has a wrong length", number);
    TRY(check_optional_id(at, b, number, e));
    snprintf(b->header.optional[number - 1], TOK_OPTIONAL_TEXT, "%.2s %.*s", at, (int)(len - data_at),
             at + data_at);
    *out_len = len;
    return ERR_OK;
}

static enum err_code read_optional(const char *text, size_t len, struct key_block *b, struct err *e)
{
    size_t at = KEY_BLOCK_HEADER_LEAST;
    const size_t count = (size_t)(text[OPTIONAL_AT] - '0') * 10 + (size_t)(text[OPTIONAL_AT + 1] - '0');
    if (count > TOK_OPTIONAL_BLOCKS)
        return err_set(e, ERR_INPUT, "header: %zu optional blocks; at most %d are read", count,
                       TOK_OPTIONAL_BLOCKS);
    for (size_t i = 0; i < count; i++) {
        size_t block_len = 0;
        TRY(read_one_optional(text + at, len - at, i + 1, b, &block_len, e));
        at += block_len;
    }
    if (at % b->mac_len != 0)
        return err_set(
            e, ERR_INPUT,
            "header: its optional blocks have %zu characters, which is no multiple of %zu; " PADDING_ID
            " fills them up",
            at - KEY_BLOCK_HEADER_LEAST, b->mac_len);
    b->header.optional_count = count;
    b->header_len = at;
    return ERR_OK;
}

static enum err_code read_body(const char *text, size_t len, struct key_block *b, struct err *e)
{
    const size_t body = len - b->header_len;
    if (body < 4 * b->mac_len || body % (2 * b->mac_len) != 0)
        return err_set(e, ERR_INPUT, "length: %zu characters behind the header are no whole blocks and a MAC",
                       body);
    b->cipher_len = body / 2 - b->mac_len;
    if (b->cipher_len > sizeof b->cipher)
        return err_set(e, ERR_INPUT, "length: the key in it is longer than any of ours");
    if (hex_decode(text + b->header_len, 2 * b->cipher_len, b->cipher, e) != ERR_OK ||
        hex_decode(text + len - 2 * b->mac_len, 2 * b->mac_len, b->mac, e) != ERR_OK)
        return err_set(e, ERR_INPUT, "the key and the MAC of a key block are hexadecimal");
    return ERR_OK;
}

/* The first characters, as far as they have to be what they are. */
static enum err_code check_head(const char *text, size_t len, struct err *e)
{
    char said[LENGTH_DIGITS + 1] = {0};
    if (len < KEY_BLOCK_HEADER_LEAST || len > TOK_KEY_BLOCK_CHARACTERS)
        return err_set(e, ERR_INPUT, "length: a key block has %d to %d characters", KEY_BLOCK_HEADER_LEAST,
                       TOK_KEY_BLOCK_CHARACTERS);
    if (!is_header_text(text, KEY_BLOCK_HEADER_LEAST) || !digits_only(text + LENGTH_AT, LENGTH_DIGITS) ||
        !digits_only(text + OPTIONAL_AT, 2))
        return err_set(e, ERR_INPUT, "header: it is no key block's: version, length and counts come first");
    if (text[0] != 'B' && text[0] != 'D')
        return err_set(
            e, ERR_UNSUPPORTED,
            "header: version %c; versions B and D are read - ask for one of these (A and C are deprecated)",
            text[0]);
    memcpy(said, text + LENGTH_AT, LENGTH_DIGITS);
    if (strtoul(said, NULL, 10) != len)
        return err_set(e, ERR_INPUT, "length: the header says %s characters, there are %zu", said, len);
    if (!is_alphanumeric(text + KEY_VERSION_AT, 2) || strchr("012", text[CONTEXT_AT]) == NULL ||
        text[RESERVED_AT] != '0')
        return err_set(e, ERR_INPUT,
                       "header: a key version is two letters or digits, a key context 0, 1 or 2, and what is "
                       "reserved 0");
    return ERR_OK;
}

enum err_code key_block_parse(const char *text, struct key_block *out_block, struct err *e)
{
    const size_t len = strnlen(text, TOK_KEY_BLOCK_CHARACTERS + 1);
    struct key_block b = {.text = text};
    TRY(check_head(text, len, e));
    b.mac_len = text[0] == 'B' ? 8 : 16;
    b.header.version = text[0];
    memcpy(b.header.usage, text + USAGE_AT, 2);
    b.header.algorithm = text[ALGORITHM_AT];
    b.header.mode = text[MODE_AT];
    memcpy(b.header.key_version, text + KEY_VERSION_AT, 2);
    b.header.exportability = text[EXPORTABILITY_AT];
    b.header.context = text[CONTEXT_AT];
    TRY(read_optional(text, len, &b, e));
    TRY(read_body(text, len, &b, e));
    *out_block = b;
    return ERR_OK;
}

void key_block_header(const struct tok_key_block_header *h, size_t cipher_bytes,
                      char out_text[KEY_BLOCK_HEADER_LEAST + 1])
{
    const size_t mac_bytes = h->version == 'B' ? 8 : 16;
    snprintf(out_text, KEY_BLOCK_HEADER_LEAST + 1, "%c%04zu%.2s%c%c%.2s%c0000", h->version,
             (KEY_BLOCK_HEADER_LEAST + 2 * (cipher_bytes + mac_bytes)) % 10000, h->usage, h->algorithm,
             h->mode, h->key_version, h->exportability);
}

/* Usages of X9.143 table 2 that a role's keys may come with; the first is what we write. */
static const struct use_row {
    enum tok_role role;
    bool aes;
    const char *usages; /* pairs of characters */
    const char *modes;  /* our roles do both directions: a mode for one of them is too narrow; the first is
                           what we write */
} use_rows[] = {
    {TOK_ZONE_PIN, false, "P0", "BN"},      {TOK_ZONE_PIN, true, "P0", "BN"},
    {TOK_ZONE_MAC, false, "M3M0M1", "CN"},  {TOK_ZONE_MAC, true, "M6", "CN"},
    {TOK_ZONE_DATA, false, "D0", "BN"},     {TOK_ZONE_DATA, true, "D0", "BN"},
    {TOK_ZONE_MASTER, false, "K1K0", "BN"}, {TOK_ZONE_MASTER, true, "K1K0", "BN"},
};

static const struct use_row *row_of(enum tok_role role, enum tok_suite suite)
{
    for (size_t i = 0; i < sizeof use_rows / sizeof use_rows[0]; i++)
        if (use_rows[i].role == role && use_rows[i].aes == (suite != TOK_TDES))
            return &use_rows[i];
    return NULL;
}

enum err_code key_block_check_use(const struct tok_key_block_header *h, enum tok_role role,
                                  enum tok_suite suite, struct err *e)
{
    const struct use_row *const row = row_of(role, suite);
    bool fits = false;
    for (const char *usage = row != NULL ? row->usages : ""; *usage != '\0'; usage += 2)
        fits |= strncmp(usage, h->usage, 2) == 0;
    if (!fits)
        return err_set(e, ERR_DENIED, "usage: the key block is for %s, which is no %s key of suite %s",
                       h->usage, tok_role_name(role), tok_suite_name(suite));
    if (strchr(row->modes, h->mode) == NULL)
        return err_set(e, ERR_DENIED, "usage: its mode of use %c does not let a %s key work", h->mode,
                       tok_role_name(role));
    if (h->algorithm != (suite == TOK_TDES ? 'T' : 'A'))
        return err_set(e, ERR_DENIED, "header: its algorithm %c is not that of suite %s", h->algorithm,
                       tok_suite_name(suite));
    if (h->key_version[0] == 'c')
        return err_set(e, ERR_DENIED, "header: key version %s marks a component, which is no whole key",
                       h->key_version);
    if (h->context == CONTEXT_STORAGE)
        return err_set(e, ERR_DENIED, "header: key context %c is for storage only, not for exchange",
                       h->context);
    if (strchr("ENS", h->exportability) == NULL)
        return err_set(e, ERR_DENIED, "header: exportability %c is none of E, N and S", h->exportability);
    return ERR_OK;
}

void key_block_describe(enum tok_role role, enum tok_suite suite, struct tok_key_block_header *h)
{
    const struct use_row *const row = row_of(role, suite);
    memcpy(h->usage, row->usages, 2);
    h->usage[2] = '\0';
    h->mode = row->modes[0];
    h->algorithm = suite == TOK_TDES ? 'T' : 'A';
    memcpy(h->key_version, "00", 3);
    h->exportability = 'N';
}
