/* Enciphering of data, tracks above all: whole blocks, no padding. */
#include "p11/pay.h"

struct cipher_row {
    CK_MECHANISM_TYPE mechanism[2]; /* by enum tok_cipher - 1 */
    size_t block_bytes;
};
static const struct cipher_row des_row = {{CKM_DES3_ECB, CKM_DES3_CBC}, DES_BLOCK};
static const struct cipher_row aes_row = {{CKM_AES_ECB, CKM_AES_CBC}, AES_BLOCK};

struct data_job {
    enum tok_cipher mode;
    const struct tok_key_ref *key;
    const uint8_t *iv, *data;
    size_t len;
    bool encrypt;
};

static enum err_code check_job(const struct data_job *job, struct err *e)
{
    if (job->mode != TOK_ECB && job->mode != TOK_CBC)
        return err_set(e, ERR_INPUT, "cipher mode %u is not known", (unsigned)job->mode);
    if ((job->mode == TOK_CBC) != (job->iv != NULL))
        return err_set(e, ERR_INPUT, job->iv == NULL ? "CBC needs an IV of one block" : "ECB takes no IV");
    if (job->len == 0 || job->data == NULL)
        return err_set(e, ERR_INPUT, "no data");
    if (job->len > TOK_DATA_BYTES)
        return err_set(e, ERR_LIMIT, "%zu bytes of data; at most %d", job->len, TOK_DATA_BYTES);
    return ERR_OK;
}

static enum err_code run(struct tok_session *s, const struct data_job *job, uint8_t *out_data,
                         enum tok_grade *out_grade, struct err *e)
{
    TRY(check_job(job, e));
    AUTO(tok_opened) opened = {0};
    TRY(tok_open_ref(s, job->key, TOK_TDK, TOK_ZONE_DATA, &opened, e));
    const struct cipher_row *row = opened.suite == TOK_TDES ? &des_row : &aes_row;
    if (job->len % row->block_bytes != 0)
        return err_set(e, ERR_INPUT, "%zu bytes are no whole blocks of %zu; pad before", job->len,
                       row->block_bytes);
    const char *way;
    enum tok_grade grade;
    TRY(tok_way_chosen(s, TOK_FLOW_DATA, &way, &grade, e));

    uint8_t iv[AES_BLOCK] = {0};
    CK_MECHANISM mechanism = {row->mechanism[job->mode - TOK_ECB], NULL, 0};
    if (job->iv != NULL) {
        memcpy(iv, job->iv, row->block_bytes);
        mechanism.pParameter = iv;
        mechanism.ulParameterLen = row->block_bytes;
    }
    TRY(job->encrypt ? tok_encrypt(s, &mechanism, opened.handle, job->data, job->len, out_data, e)
                     : tok_decrypt(s, &mechanism, opened.handle, job->data, job->len, out_data, e));
    *out_grade = grade;
    return ERR_OK;
}

enum err_code tok_data_encrypt(struct tok_session *s, enum tok_cipher mode, const struct tok_key_ref *key,
                               const uint8_t *iv, const uint8_t *data, size_t len, uint8_t *out_data,
                               enum tok_grade *out_grade, struct err *e)
{
    const struct data_job job = {mode, key, iv, data, len, true};
    return run(s, &job, out_data, out_grade, e);
}

enum err_code tok_data_decrypt(struct tok_session *s, enum tok_cipher mode, const struct tok_key_ref *key,
                               const uint8_t *iv, const uint8_t *data, size_t len, uint8_t *out_data,
                               enum tok_grade *out_grade, struct err *e)
{
    const struct data_job job = {mode, key, iv, data, len, false};
    return run(s, &job, out_data, out_grade, e);
}
