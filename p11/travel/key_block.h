/* Inside p11 only: the form of an ANSI X9.143 (TR-31) key block, without a token.
 *
 * Version B (KBPK is a TDES key) and D (AES): version 1 | length 4 | usage 2 | algorithm 1 | mode of use 1 |
 * key version 2 | exportability 1 | number of optional blocks 2 | key context 1 | reserved 1 | optional
 * blocks | ciphertext in hex | MAC in hex. The header is printable ASCII. An optional block is an identifier
 * of two letters or digits, which comes once, a length and its data; together they fill whole cipher blocks,
 * by a last one, PB, if need be. Source: ANSI X9.143-2021 (ASC X9 TR 31-2018), as published test blocks use
 * it. */
#ifndef POSWARD_P11_KEY_BLOCK_H
#define POSWARD_P11_KEY_BLOCK_H

#include "p11/travel/transport.h"

#define KEY_BLOCK_HEADER_LEAST 16
#define KEY_BLOCK_CIPHER_BYTES 256 /* of the enciphered length, key and padding */

struct key_block {
    struct tok_key_block_header header;
    const char *text; /* of the caller */
    size_t header_len;
    uint8_t cipher[KEY_BLOCK_CIPHER_BYTES], mac[16];
    size_t cipher_len, mac_len; /* mac_len is the cipher's block, too */
};

/* ERR_INPUT says what of the form is wrong; ERR_UNSUPPORTED another version than B and D. */
enum err_code key_block_parse(const char *text, struct key_block *out_block, struct err *e) MUST_CHECK;
/* The header of a block that will have `cipher_bytes`, without optional blocks, into out_text[17]. */
void key_block_header(const struct tok_key_block_header *header, size_t cipher_bytes,
                      char out_text[KEY_BLOCK_HEADER_LEAST + 1]);
/* Role and suite that the header's usage and algorithm fit. ERR_DENIED names both sides. */
enum err_code key_block_check_use(const struct tok_key_block_header *header, enum tok_role role,
                                  enum tok_suite suite, struct err *e) MUST_CHECK;
/* Usage, algorithm and mode of use for a key of ours. */
void key_block_describe(enum tok_role role, enum tok_suite suite, struct tok_key_block_header *header);

#endif
