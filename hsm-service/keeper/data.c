#include "hsm-service/keeper/blob_rule.h"
#include "hsm-service/keeper/convert.h"

#define BLOCK_LEAST 8  /* DES */
#define BLOCK_MOST  16 /* AES; p11 holds the length against the key's own block */

typedef enum err_code (*data_flow)(struct tok_session *s, const struct tok_data_request *request,
                                   uint8_t *out_data, enum tok_grade *out_grade, struct err *e);

static enum err_code check_iv(enum tok_cipher mode, const ProtobufCBinaryData *iv, struct err *e)
{
    if (mode == TOK_ECB && iv->len > 0)
        return err_set(e, ERR_INPUT, "iv is given, but mode is ECB, which has none");
    if (mode == TOK_CBC && iv->len != BLOCK_LEAST && iv->len != BLOCK_MOST)
        return err_set(e, ERR_INPUT, "iv has %zu bytes; CBC needs one block: %d for TDES, %d for AES",
                       iv->len, BLOCK_LEAST, BLOCK_MOST);
    return ERR_OK;
}

static enum err_code check_data(enum tok_cipher mode, const ProtobufCBinaryData *iv,
                                const ProtobufCBinaryData *data, struct err *e)
{
    const size_t block = mode == TOK_CBC ? iv->len : BLOCK_LEAST;
    TRY(convert_length(data->len, "data", BLOCK_LEAST, TOK_DATA_BYTES, e));
    if (data->len % block != 0)
        return err_set(e, ERR_INPUT, "data has %zu bytes; it must be whole blocks of %zu, nothing is padded",
                       data->len, block);
    return ERR_OK;
}

/* Both requests have the same fields: DecryptDataRequest is EncryptDataRequest the other way round. */
static enum err_code process(struct keeper_call *call, data_flow flow, const HsmEncryptRequest *in,
                             HsmDecryptResponse *out, struct err *e)
{
    struct tok_data_request request = {
        .iv = in->iv.data, .iv_bytes = in->iv.len, .data = in->data.data, .len = in->data.len};
    TRY(convert_key_ref(in->key, "key", &request.key, e));
    TRY(convert_cipher(in->mode, &request.mode, e));
    TRY(check_iv(request.mode, &in->iv, e));
    TRY(check_data(request.mode, &in->iv, &in->data, e));
    TRY(blob_rule_ref(call, &request.key, NULL, e));
    ProtobufCBinaryData result = {.len = in->data.len, .data = arena_take(call->arena, in->data.len)};
    if (result.data == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    enum tok_grade grade;
    request.key.out_zone_version = &out->zone_version;
    call->operations++;
    TRY(flow(call->session, &request, result.data, &grade, e));
    out->data = result;
    out->grade = convert_grade(grade);
    out->reseal_advised = case_is_stale(call, &request.key);
    return ERR_OK;
}

enum err_code case_encrypt(struct keeper_call *call, const ProtobufCMessage *request,
                           ProtobufCMessage *response, struct err *e)
{
    HsmEncryptResponse *const out = (HsmEncryptResponse *)response;
    HsmDecryptResponse answer = POSWARD__HSM__V1__DECRYPT_DATA_RESPONSE__INIT;
    TRY(process(call, tok_data_encrypt, (const HsmEncryptRequest *)request, &answer, e));
    out->data = answer.data;
    out->grade = answer.grade;
    out->reseal_advised = answer.reseal_advised;
    out->zone_version = answer.zone_version;
    return ERR_OK;
}

enum err_code case_decrypt(struct keeper_call *call, const ProtobufCMessage *request,
                           ProtobufCMessage *response, struct err *e)
{
    const HsmDecryptRequest *const in = (const HsmDecryptRequest *)request;
    HsmEncryptRequest fields = POSWARD__HSM__V1__ENCRYPT_DATA_REQUEST__INIT;
    fields.key = in->key;
    fields.mode = in->mode;
    fields.iv = in->iv;
    fields.data = in->data;
    return process(call, tok_data_decrypt, &fields, (HsmDecryptResponse *)response, e);
}
