/* Inside p11 only: opening and making key blocks with a key-block protection key that is an object of the
 * token. The derived keys and the clear key pass through this process: PROCESS_MEMORY. */
#ifndef POSWARD_P11_KEY_BLOCK_TOKEN_H
#define POSWARD_P11_KEY_BLOCK_TOKEN_H

#include "p11/module/session.h"
#include "p11/travel/key_block.h"

/* The KBPK: TDES of 16 or 24 bytes (may encipher), AES of 16, 24 or 32 (may sign). */
struct key_block_kbpk {
    CK_OBJECT_HANDLE handle;
    size_t bytes;
};

/* The key block encryption and authentication keys of a version, as long as the KBPK. */
enum err_code key_block_derive(struct tok_session *s, const struct key_block_kbpk *kbpk, char version,
                               struct secret *out_kbek, struct secret *out_kbak, struct err *e) MUST_CHECK;
/* The clear key. ERR_CHECK "MAC: ..." before anything of it is looked at; then its length field is judged. */
enum err_code key_block_open(struct tok_session *s, const struct key_block_kbpk *kbpk,
                             const struct key_block *block, struct secret *out_key, struct err *e) MUST_CHECK;
/* The whole block; out_text[capacity]. */
enum err_code key_block_make(struct tok_session *s, const struct key_block_kbpk *kbpk,
                             const struct tok_key_block_header *header, const struct secret *key,
                             char *out_text, size_t capacity, struct err *e) MUST_CHECK;

#endif
