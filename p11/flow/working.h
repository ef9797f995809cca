/* Inside p11 only: the ways to a working key, on the handle of a TMK. The flow chooses among them, the probe
 * tries them. */
#ifndef POSWARD_P11_WORKING_H
#define POSWARD_P11_WORKING_H

#include "p11/module/session.h"
#include "p11/object/object.h"

struct tok_made {
    struct tok_object key, left; /* extractable; left: K1||K1 when it was asked for */
    uint8_t cryptogram[24];
    size_t cryptogram_len;
};
void tok_made_drop(struct tok_made *made);

/* TDES, 8 (held as K||K) or 16 bytes. The TMK may wrap and unwrap. */
enum err_code tok_working_wrap(struct tok_session *s, CK_OBJECT_HANDLE tmk, unsigned key_bytes,
                               bool with_left, struct tok_made *out_made, struct err *e) MUST_CHECK;
/* The same without any 3DES wrapping: the TMK may derive, encrypt and sign. See working.c. */
enum err_code tok_working_chain(struct tok_session *s, CK_OBJECT_HANDLE tmk, unsigned key_bytes,
                                bool with_left, struct tok_made *out_made, struct err *e) MUST_CHECK;
/* AES-128 under `kek`, an AES key that may wrap: a TMK, or its key of one usage. */
enum err_code tok_working_aes(struct tok_session *s, CK_OBJECT_HANDLE kek, struct tok_made *out_made,
                              struct err *e) MUST_CHECK;

#endif
