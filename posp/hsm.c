#include "posp/hsm.h"

#include "base/secret.h"
#include "posp/hsm_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hsm {
    struct hsm_batch *batch;
};

#define KEYS_MAX 3

enum err_code hsm_open(struct rpc_channel *channel, int64_t timeout_ms, struct hsm **out_hsm, struct err *e)
{
    struct hsm *hsm = calloc(1, sizeof *hsm);
    if (hsm == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    const enum err_code code = hsm_batch_new(channel, timeout_ms, &hsm->batch, e);
    if (code != ERR_OK) {
        free(hsm);
        return code;
    }
    *out_hsm = hsm;
    return ERR_OK;
}

void hsm_free(struct hsm *hsm)
{
    if (hsm == NULL)
        return;
    hsm_batch_free(hsm->batch);
    free(hsm);
}

/* One operation whose answer must be of `wanted` kind. */
static enum err_code call(struct hsm *hsm, Posward__Hsm__V1__BatchItem *item,
                          Posward__Hsm__V1__BatchResult__ResultCase wanted,
                          Posward__Hsm__V1__BatchResult **out_result, struct err *e)
{
    Posward__Hsm__V1__BatchResult *result = NULL;
    TRY(hsm_batch_call(hsm->batch, item, &result, e));
    if (result->result_case != wanted) {
        posward__hsm__v1__batch_result__free_unpacked(result, NULL);
        return err_set(e, ERR_INTERNAL, "hsm: an answer of another kind");
    }
    *out_result = result;
    return ERR_OK;
}

static ProtobufCBinaryData view(const void *bytes, size_t len)
{
    return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)(uintptr_t)bytes};
}

static ProtobufCBinaryData view_blob(const struct store_blob *blob)
{
    return view(blob->bytes, blob->len);
}

static enum err_code copy_out(const ProtobufCBinaryData *from, void *out, size_t capacity, size_t *out_len,
                              struct err *e)
{
    if (from->len == 0 || from->len > capacity)
        return err_set(e, ERR_INTERNAL, "hsm: an answer of %zu bytes", from->len);
    memcpy(out, from->data, from->len);
    *out_len = from->len;
    return ERR_OK;
}

static enum err_code read_working_key(const Posward__Hsm__V1__WorkingKey *from,
                                      const struct hsm_key_spec *spec, struct hsm_working_key *key,
                                      struct err *e)
{
    size_t kcv_len = 0;
    if (from->usage != spec->usage)
        return err_set(e, ERR_INTERNAL, "hsm: working keys in another order");
    TRY(copy_out(&from->cryptogram, key->cryptogram, sizeof key->cryptogram, &key->cryptogram_len, e));
    key->seal = (struct store_seal){from->storage_version, from->tag_version};
    TRY(copy_out(&from->kcv, key->kcv, sizeof key->kcv, &kcv_len, e));
    return copy_out(&from->blob, key->blob.bytes, sizeof key->blob.bytes, &key->blob.len, e);
}

static enum err_code read_working_keys(const Posward__Hsm__V1__GenerateWorkingKeysResponse *response,
                                       const struct hsm_key_spec *specs, size_t count,
                                       struct hsm_working_key *out_keys, struct err *e)
{
    if (response->n_keys != count)
        return err_set(e, ERR_INTERNAL, "hsm: %zu working keys for %zu", response->n_keys, count);
    for (size_t i = 0; i < count; i++)
        TRY(read_working_key(response->keys[i], &specs[i], &out_keys[i], e));
    return ERR_OK;
}

enum err_code hsm_working_keys(struct hsm *hsm, const struct store_device *device,
                               const struct hsm_key_spec *specs, size_t count,
                               struct hsm_working_key *out_keys, struct err *e)
{
    Posward__Hsm__V1__WorkingKeySpec messages[KEYS_MAX], *pointers[KEYS_MAX];
    if (count > KEYS_MAX)
        return err_set(e, ERR_INPUT, "%zu working keys", count);
    for (size_t i = 0; i < count; i++) {
        messages[i] = (Posward__Hsm__V1__WorkingKeySpec)POSWARD__HSM__V1__WORKING_KEY_SPEC__INIT;
        messages[i].usage = specs[i].usage;
        messages[i].key_bytes = specs[i].key_bytes;
        messages[i].mac_algorithm = specs[i].mac;
        pointers[i] = &messages[i];
    }
    char psam_number[STORE_PSAM_BYTES];
    snprintf(psam_number, sizeof psam_number, "%s", device->psam_number);
    Posward__Hsm__V1__GenerateWorkingKeysRequest request =
        POSWARD__HSM__V1__GENERATE_WORKING_KEYS_REQUEST__INIT;
    request.psam_number = psam_number;
    request.suite = (Posward__Types__V1__Suite)device->suite;
    request.master_version = device->master_version;
    request.wrap_version = device->wrap_version;
    request.n_keys = count;
    request.keys = pointers;
    Posward__Hsm__V1__BatchItem item = POSWARD__HSM__V1__BATCH_ITEM__INIT;
    item.operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_WORKING_KEYS;
    item.generate_working_keys = &request;
    Posward__Hsm__V1__BatchResult *result = NULL;
    TRY(call(hsm, &item, POSWARD__HSM__V1__BATCH_RESULT__RESULT_GENERATE_WORKING_KEYS, &result, e));
    const enum err_code code = read_working_keys(result->generate_working_keys, specs, count, out_keys, e);
    posward__hsm__v1__batch_result__free_unpacked(result, NULL);
    return code;
}

/* The messages of one transaction; they point into each other and into struct hsm_transaction. */
struct parts {
    Posward__Hsm__V1__ZoneKey zone;
    Posward__Hsm__V1__TransactionMac mac;
    Posward__Hsm__V1__TransactionPin pin;
    Posward__Hsm__V1__TransactionTrack track;
};

static void fill_pin(struct parts *p, const struct hsm_transaction *t)
{
    const struct pin_target target = units_pin_target(t->route, t->rules->pin_format);
    p->zone = (Posward__Hsm__V1__ZoneKey)POSWARD__HSM__V1__ZONE_KEY__INIT;
    p->zone.zone = (char *)(uintptr_t)t->route->zone;
    p->zone.version = t->route->zone_version;
    p->zone.suite = target.suite;
    p->pin = (Posward__Hsm__V1__TransactionPin)POSWARD__HSM__V1__TRANSACTION_PIN__INIT;
    p->pin.blob = view_blob(&t->keys->pik);
    p->pin.destination = &p->zone;
    p->pin.destination_format = target.format;
}

static void fill_request(struct parts *p, const struct hsm_transaction *t,
                         Posward__Hsm__V1__ProcessTransactionRequest *request)
{
    *request =
        (Posward__Hsm__V1__ProcessTransactionRequest)POSWARD__HSM__V1__PROCESS_TRANSACTION_REQUEST__INIT;
    request->message = view(t->message, t->len);
    request->dialect = (char *)(uintptr_t)t->dialect->name;
    request->psam_number = (char *)(uintptr_t)t->keys->psam_number;
    p->mac = (Posward__Hsm__V1__TransactionMac)POSWARD__HSM__V1__TRANSACTION_MAC__INIT;
    p->mac.blob = view_blob(&t->keys->mak);
    request->mac = &p->mac;
    if (t->route != NULL) {
        fill_pin(p, t);
        request->pin = &p->pin;
    }
    if (t->track) {
        p->track = (Posward__Hsm__V1__TransactionTrack)POSWARD__HSM__V1__TRANSACTION_TRACK__INIT;
        p->track.blob = view_blob(&t->keys->tdk);
        request->track = &p->track;
    }
}

static enum err_code take_pin(const Posward__Hsm__V1__TranslatePinResponse *response, struct hsm_outcome *out,
                              struct err *e)
{
    TRY(copy_out(&response->block, out->pin_block, sizeof out->pin_block, &out->pin_len, e));
    out->pin_zone_version = response->destination_zone_version;
    return ERR_OK;
}

static enum err_code read_outcome(const Posward__Hsm__V1__ProcessTransactionResponse *response,
                                  const struct hsm_transaction *t, struct hsm_outcome *out, struct err *e)
{
    *out = (struct hsm_outcome){.mac_matches = response->mac != NULL && response->mac->matches,
                                .reseal_advised = response->reseal_advised};
    if (!out->mac_matches)
        return ERR_OK;
    if ((t->route != NULL && response->pin == NULL) || (t->track && response->track == NULL))
        return err_set(e, ERR_INTERNAL, "hsm: a part of the answer is missing");
    if (t->route != NULL)
        TRY(take_pin(response->pin, out, e));
    if (t->track)
        TRY(copy_out(&response->track->data, out->track, sizeof out->track, &out->track_len, e));
    return ERR_OK;
}

enum err_code hsm_process(struct hsm *hsm, const struct hsm_transaction *t, struct hsm_outcome *out_outcome,
                          struct err *e)
{
    struct parts p;
    Posward__Hsm__V1__ProcessTransactionRequest request;
    fill_request(&p, t, &request);
    Posward__Hsm__V1__BatchItem item = POSWARD__HSM__V1__BATCH_ITEM__INIT;
    item.operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_PROCESS_TRANSACTION;
    item.process_transaction = &request;
    Posward__Hsm__V1__BatchResult *result = NULL;
    TRY(call(hsm, &item, POSWARD__HSM__V1__BATCH_RESULT__RESULT_PROCESS_TRANSACTION, &result, e));
    struct hsm_outcome outcome;
    const enum err_code code = read_outcome(result->process_transaction, t, &outcome, e);
    if (result->process_transaction->track != NULL) /* clear track digits */
        secret_wipe(result->process_transaction->track->data.data,
                    result->process_transaction->track->data.len);
    posward__hsm__v1__batch_result__free_unpacked(result, NULL);
    if (code == ERR_OK)
        *out_outcome = outcome;
    return code;
}

enum err_code hsm_mac(struct hsm *hsm, const struct suite_rules *rules, const struct store_key_set *keys,
                      const uint8_t *data, size_t len, uint8_t out_mac[HSM_MAC_BYTES], struct err *e)
{
    Posward__Hsm__V1__KeyRef mak = POSWARD__HSM__V1__KEY_REF__INIT;
    mak.psam_number =
        (char *)(uintptr_t)keys->psam_number; /* a blob from another terminal's row is refused */
    mak.key_case = POSWARD__HSM__V1__KEY_REF__KEY_BLOB;
    mak.blob = view_blob(&keys->mak);
    Posward__Hsm__V1__GenerateMacRequest request = POSWARD__HSM__V1__GENERATE_MAC_REQUEST__INIT;
    request.key = &mak;
    request.algorithm = rules->mac;
    request.data = view(data, len);
    Posward__Hsm__V1__BatchItem item = POSWARD__HSM__V1__BATCH_ITEM__INIT;
    item.operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_MAC;
    item.generate_mac = &request;
    Posward__Hsm__V1__BatchResult *result = NULL;
    TRY(call(hsm, &item, POSWARD__HSM__V1__BATCH_RESULT__RESULT_GENERATE_MAC, &result, e));
    const ProtobufCBinaryData *mac = &result->generate_mac->mac;
    enum err_code code = ERR_OK;
    if (mac->len < HSM_MAC_BYTES)
        code = err_set(e, ERR_INTERNAL, "hsm: a MAC of %zu bytes", mac->len);
    else
        memcpy(out_mac, mac->data, HSM_MAC_BYTES);
    posward__hsm__v1__batch_result__free_unpacked(result, NULL);
    return code;
}
