/* Inside p11 only: the form of a blob, without a token. All numbers are big-endian.
 *
 *   offset bytes
 *        0     4  "PWB1" or "PWB2": magic and version of the form
 *        4     1  suite                1 TDES, 2 AES-128, 3 AES-256 (of the card: how its TMK enciphers)
 *        5     1  usage                enum tok_usage
 *        6     1  key bytes            TDES 8 or 16 (TMK 16); AES 16 (TMK of AES-256: 32)
 *        7     1  parts                1, or 2: a second key K1||K1 follows (16-byte TDES MAK only)
 *        8     1  digits of the PSAM number, 16 to 20
 *        9    10  PSAM number in BCD, left-padded with zeros
 *       19     1  master key version, 1 to 255
 *       20     1  storage key version, 1 to 255
 *       21     1  tag key version, 1 to 255
 *       22     8  created, milliseconds since 1970 UTC
 *       30     4  KCV
 *       34     1  form 2 only: the one MAC algorithm of a MAK (enum tok_mac); 0 for other usages
 *       35     8  form 2 only: sign-in id of a working key, not all zeros; zeros for a TMK
 * 34 or 43     -  AES key wrap (RFC 3394) of each part under the storage key: key + 8 bytes; an 8-byte DES
 *                 key is K||K
 *      end    16  AES-CMAC under the tag key over all before
 *
 * A form has exactly one encoding: what is not as above is ERR_CHECK. New blobs are of form 2; form 1 is
 * read, and kept when such a blob is re-sealed. Offsets up to the KCV are the same in both: the HSM service's
 * front reads some of them. */
#ifndef POSWARD_P11_BLOB_H
#define POSWARD_P11_BLOB_H

#include "p11/flow/flows.h"

#define TOK_BLOB_HEAD_MAX  43
#define TOK_BLOB_TAG_BYTES 16
#define TOK_WRAPPED_MOST   40

struct tok_blob_view {
    struct tok_blob_info info;
    unsigned tag_version;
    unsigned parts;
    const uint8_t *wrapped[2]; /* into the blob */
    size_t wrapped_len;        /* of each */
    const uint8_t *tag;
    size_t tagged_len; /* bytes under the tag */
};

/* Form only: neither tag nor key is checked. */
enum err_code tok_blob_parse(const uint8_t *blob, size_t len, struct tok_blob_view *out_view,
                             struct err *e) MUST_CHECK;
/* Bytes of a form's head: what stands before the wrapped parts. */
size_t tok_blob_head_bytes(unsigned form);
/* The head for `view`'s info, tag_version and parts. ERR_INPUT: a combination that no blob may have. */
enum err_code tok_blob_head(const struct tok_blob_view *view, uint8_t out_head[TOK_BLOB_HEAD_MAX],
                            struct err *e) MUST_CHECK;
/* Bytes of a key as the token holds it: 16 for an 8-byte DES key. */
size_t tok_blob_held_bytes(unsigned key_bytes);
const char *tok_usage_name(int usage); /* "PIK" */

#endif
