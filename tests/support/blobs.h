/* Blobs as a token does not make them any more, or would not: the same wrapped key under another head, with
 * the right tag over it.
 *
 * A failure ends the process, which fails the test. */
#ifndef POSWARD_TESTS_SUPPORT_BLOBS_H
#define POSWARD_TESTS_SUPPORT_BLOBS_H

#include "p11/flow/flows.h"

/* `info` as tok_blob_info gave it, changed; the storage version stays. The blob and its like may be one
 * place. */
void blob_remake(struct tok_session *s, uint8_t blob[TOK_BLOB_BYTES], size_t *len,
                 const struct tok_blob_info *info);
/* As it was made before there was a form 2. */
void blob_to_form_1(struct tok_session *s, uint8_t blob[TOK_BLOB_BYTES], size_t *len);

#endif
