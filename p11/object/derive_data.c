#include "p11/object/object.h"

#include "p11/object/template.h"

enum err_code tok_derive_data(struct tok_session *s, const struct tok_derive_request *request,
                              struct tok_object *out_child, struct err *e)
{
    CK_KEY_DERIVATION_STRING_DATA string = {.pData = (CK_BYTE_PTR)(uintptr_t)request->data,
                                            .ulLen = request->len};
    CK_MECHANISM mechanism = {.mechanism = request->base_suite == TOK_TDES ? CKM_DES3_ECB_ENCRYPT_DATA
                                                                           : CKM_AES_ECB_ENCRYPT_DATA,
                              .pParameter = &string,
                              .ulParameterLen = sizeof string};
    struct tok_template t;
    tok_template_secret(&t, request->type, request->uses);
    if (request->type != CKK_DES2) /* a DES2 key has one length, and tokens refuse to be told */
        tok_template_number(&t, CKA_VALUE_LEN, request->len);
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(s->fn->C_DeriveKey(s->handle, &mechanism, request->base, t.rows, t.count, &handle),
               "C_DeriveKey", e));
    *out_child = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}
