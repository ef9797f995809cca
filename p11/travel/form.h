/* Inside travel only: what the forms in which keys travel have in common. */
#ifndef POSWARD_P11_TRAVEL_FORM_H
#define POSWARD_P11_TRAVEL_FORM_H

#include "p11/keys/find.h"
#include "p11/travel/transport.h"

struct travel_form {
    enum tok_flow import, export; /* TOK_FLOW_COUNT: it is not done */
    enum tok_role under;
    bool tdes; /* the key above is of suite TDES; else AES, or RSA */
    bool block;
};
extern const struct travel_form travel_forms[]; /* by enum tok_key_format */

/* `under` may carry a key of `name` in this format: ERR_INPUT, ERR_DENIED. */
enum err_code travel_check_under(enum tok_key_format format, const struct tok_key_name *name,
                                 const struct tok_key_name *under, struct err *e) MUST_CHECK;
size_t travel_kbpk_bytes(const struct tok_found *under);
/* One answer for the many in which tokens say that a key is wrong or a wrapping was changed. */
enum err_code travel_name_failure(enum err_code code, struct err *e);
/* Whether the way is in the token or not, a key that has to be halved passes through this process. */
bool travel_is_halved(const struct tok_key_name *name);
enum err_code travel_refuse_halved(const struct tok_key_name *name, struct err *e) MUST_CHECK;
/* ERR_DENIED: policy keeps every key in the token. */
enum err_code travel_pass_here(struct tok *tok, const struct tok_key_name *name, enum tok_grade *out_grade,
                               struct err *e) MUST_CHECK;

#endif
