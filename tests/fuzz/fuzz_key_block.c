/* A key block's form: what parses is all there, its parts fill the text, and a header that is written from
 * what was read is the same. For which keys it may be used is judged for each role. */
#include "p11/travel/key_block.h"

#include "base/hex.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right)
        abort();
}

static void check_optional(const struct key_block *b)
{
    const struct tok_key_block_header *const h = &b->header;
    check(h->optional_count <= TOK_OPTIONAL_BLOCKS);
    check((b->header_len == KEY_BLOCK_HEADER_LEAST) == (h->optional_count == 0));
    for (size_t i = 0; i < h->optional_count; i++) {
        check(strlen(h->optional[i]) < TOK_OPTIONAL_TEXT && h->optional[i][2] == ' ');
        for (size_t k = 0; k < i; k++)
            check(strncmp(h->optional[i], h->optional[k], 2) != 0);
    }
}

static void check_parts(const struct key_block *b, const char *text, size_t len)
{
    char header[KEY_BLOCK_HEADER_LEAST + 1], hex[2 * KEY_BLOCK_CIPHER_BYTES + 1];
    check(b->mac_len == (b->header.version == 'B' ? 8 : 16));
    check(b->cipher_len > 0 && b->cipher_len <= KEY_BLOCK_CIPHER_BYTES && b->cipher_len % b->mac_len == 0);
    check(b->header_len % b->mac_len == 0);
    check(b->header_len + 2 * (b->cipher_len + b->mac_len) == len);
    hex_encode(b->cipher, b->cipher_len, hex);
    check(strncasecmp(hex, text + b->header_len, 2 * b->cipher_len) == 0);
    hex_encode(b->mac, b->mac_len, hex);
    check(strncasecmp(hex, text + len - 2 * b->mac_len, 2 * b->mac_len) == 0);
    if (b->header.optional_count > 0 || b->header.context != '0')
        return; /* ours has neither */
    key_block_header(&b->header, b->cipher_len, header);
    check(strncmp(header, text, KEY_BLOCK_HEADER_LEAST) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key_block block;
    struct err e = {0};
    if (size > TOK_KEY_BLOCK_CHARACTERS + 1)
        return 0;
    char *text = malloc(size + 1); /* for ASan: exactly as long */
    check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    const enum err_code code = key_block_parse(text, &block, &e);
    check(code == ERR_OK || ((code == ERR_INPUT || code == ERR_UNSUPPORTED) && strlen(e.note) > 0));
    if (code == ERR_OK) {
        check_parts(&block, text, strlen(text));
        check_optional(&block);
        for (int role = 0; role < TOK_ROLE_COUNT; role++)
            for (int suite = TOK_TDES; suite <= TOK_AES_256; suite++) {
                const enum err_code use = key_block_check_use(&block.header, role, suite, &e);
                check(use == ERR_OK || use == ERR_DENIED);
            }
    }
    free(text);
    return 0;
}
