/* Enciphering of data, tracks above all: whole blocks, no padding. */
#include "p11/flow/blob.h"
#include "p11/flow/pay.h"

struct cipher_row {
    CK_MECHANISM_TYPE mechanism[2]; /* by enum tok_cipher - 1 */
    size_t block_bytes;
};
static const struct cipher_row des_row = {{CKM_DES3_ECB, CKM_DES3_CBC}, DES_BLOCK};
static const struct cipher_row aes_row = {{CKM_AES_ECB, CKM_AES_CBC}, AES_BLOCK};

typedef enum err_code cipher_call(struct tok_session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                                  const uint8_t *data, size_t len, uint8_t *out, struct err *e);

static enum err_code check_request(const struct tok_data_request *request, struct err *e)
{
    if (request->mode != TOK_ECB && request->mode != TOK_CBC)
        return err_set(e, ERR_INPUT, "cipher mode %u is not known", (unsigned)request->mode);
    if (request->mode == TOK_ECB && request->iv_bytes != 0)
        return err_set(e, ERR_INPUT, "ECB takes no iv");
    if (request->iv_bytes != 0 && request->iv == NULL)
        return err_set(e, ERR_INTERNAL, "an iv of %zu bytes is nowhere", request->iv_bytes);
    if (request->len == 0 || request->data == NULL)
        return err_set(e, ERR_INPUT, "no data");
    if (request->len > TOK_DATA_BYTES)
        return err_set(e, ERR_LIMIT, "%zu bytes of data; at most %d", request->len, TOK_DATA_BYTES);
    return ERR_OK;
}

/* What depends on the key. */
static enum err_code check_blocks(const struct tok_data_request *request, size_t block_bytes, struct err *e)
{
    if (request->mode == TOK_CBC && request->iv_bytes != block_bytes)
        return err_set(e, ERR_INPUT, "iv has %zu bytes; the block of this key has %zu", request->iv_bytes,
                       block_bytes);
    if (request->len % block_bytes != 0)
        return err_set(e, ERR_INPUT, "%zu bytes are no whole blocks of %zu; pad before", request->len,
                       block_bytes);
    return ERR_OK;
}

static enum err_code run(struct tok_session *s, const struct tok_data_request *request,
                         enum tok_purpose purpose, uint8_t *out_data, enum tok_grade *out_grade,
                         struct err *e)
{
    TRY(check_request(request, e));
    AUTO(tok_opened) opened = {0};
    const struct tok_need need = {TOK_TDK, TOK_ZONE_DATA, purpose};
    TRY(tok_open_ref(s, &request->key, &need, &opened, e));
    const struct cipher_row *row = opened.suite == TOK_TDES ? &des_row : &aes_row;
    TRY(check_blocks(request, row->block_bytes, e));
    const char *way;
    enum tok_grade grade;
    TRY(tok_way_chosen(s->tok, TOK_FLOW_DATA, &way, &grade, e));

    uint8_t iv[AES_BLOCK] = {0}; /* the mechanism takes no const */
    CK_MECHANISM mechanism = {row->mechanism[request->mode - TOK_ECB], NULL, 0};
    if (request->mode == TOK_CBC) {
        memcpy(iv, request->iv, row->block_bytes);
        mechanism.pParameter = iv;
        mechanism.ulParameterLen = row->block_bytes;
    }
    cipher_call *const call = purpose == TOK_PROTECT ? tok_encrypt : tok_decrypt;
    TRY(call(s, &mechanism, opened.handle, request->data, request->len, out_data, e));
    *out_grade = grade;
    return ERR_OK;
}

enum err_code tok_data_encrypt(struct tok_session *s, const struct tok_data_request *request,
                               uint8_t *out_data, enum tok_grade *out_grade, struct err *e)
{
    return run(s, request, TOK_PROTECT, out_data, out_grade, e);
}

enum err_code tok_data_decrypt(struct tok_session *s, const struct tok_data_request *request,
                               uint8_t *out_data, enum tok_grade *out_grade, struct err *e)
{
    return run(s, request, TOK_OPEN, out_data, out_grade, e);
}
