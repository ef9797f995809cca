#include "base/log.h"
#include "base/terms.h"
#include "posp/answer.h"
#include "posp/handlers.h"
#include "posp/keyuse.h"

#include <stdio.h>
#include <string.h>

#define KEY_BYTES 16 /* of every key but the MAK of layout 003 */

static const Posward__Types__V1__KeyUsage usage_of_slot[ISO_F62_SLOT_COUNT] = {
    [ISO_F62_PIK] = POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_PIK,
    [ISO_F62_MAK] = POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_MAK,
    [ISO_F62_TDK] = POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_TDK,
};

/* Same card when the shorter number is the end of the longer one: some terminals know the last 16 digits
 * only. */
static bool same_card(const char *sent, size_t sent_len, const char *registered)
{
    const size_t known_len = strlen(registered);
    const size_t len = sent_len < known_len ? sent_len : known_len;
    return len >= PSAM_DIGITS_MIN && strncmp(sent + sent_len - len, registered + known_len - len, len) == 0;
}

/* F62 of the request may be the terminal's serial number ("Sequence No..."), which says nothing here, or 16
 * to 20 digits: the number of the card in the terminal. Another card than POSV has on record means that
 * somebody changed cards: A7. NULL: go on. */
static const char *check_card(const struct request *request, struct err *e)
{
    size_t len = 0, serial_len = 0;
    const char *serial;
    const uint8_t *bytes = iso_view_bytes(request->message, 62, &len);
    if (bytes == NULL || iso_f62_serial(bytes, len, &serial, &serial_len, NULL) == ERR_OK)
        return NULL;
    const char *text = iso_text(request->message, 62);
    if (text == NULL || strspn(text, "0123456789") != len || len < PSAM_DIGITS_MIN || len > PSAM_DIGITS_MAX) {
        (void)err_set(e, ERR_INPUT, "field 62 is neither 'Sequence No' nor a PSAM number of 16 to 20 digits");
        return F39_FORMAT;
    }
    if (same_card(text, len, request->device.psam_number))
        return NULL;
    (void)err_set(e, ERR_DENIED, "the terminal holds another PSAM card than the one registered");
    return F39_SECURITY;
}

/* Single DES keeps no PIN and no track secret: layout 001 is refused. Whether a MAK may have 8 bytes (layout
 * 003) is the HSM service's policy. */
static enum err_code refuse_single_des(const struct request *request, size_t f62_len, struct err *e)
{
    const size_t pik_bytes = iso_f62_slot_len(f62_len, ISO_F62_PIK);
    if (pik_bytes >= KEY_BYTES)
        return ERR_OK;
    return err_set(
        e, ERR_DENIED,
        "the terminal asks for a PIK of %zu bytes (F60.3 %.3s), single DES, which is not given; set "
        "it to ask for double-length keys: F60.3 003, or 004 for a track key too",
        pik_bytes, request->f60.management);
}

/* Which keys the layout has. */
static size_t key_specs(const struct suite_rules *rules, size_t f62_len,
                        struct hsm_key_spec out_specs[ISO_F62_SLOT_COUNT])
{
    size_t count = 0;
    for (int slot = 0; slot < ISO_F62_SLOT_COUNT; slot++) {
        size_t bytes = iso_f62_slot_len(f62_len, (enum iso_f62_slot)slot);
        if (bytes == 0)
            continue;
        if (bytes > KEY_BYTES) /* a 24-byte slot holds a 16-byte key: padded, or wrapped */
            bytes = KEY_BYTES;
        out_specs[count] = (struct hsm_key_spec){.usage = usage_of_slot[slot], .key_bytes = (uint32_t)bytes};
        if (slot == ISO_F62_MAK)
            out_specs[count].mac = rules->mac;
        count++;
    }
    return count;
}

static void place_key(const struct hsm_working_key *key, enum iso_f62_slot slot, struct iso_f62 *f62)
{
    memcpy(f62->keys[slot].cipher, key->cryptogram, key->cryptogram_len);
    f62->keys[slot].cipher_len = key->cryptogram_len;
    memcpy(f62->keys[slot].cv, key->kcv, sizeof f62->keys[slot].cv);
}

/* The token's keys may change between two working keys: then the set is of no one version. */
static void join_seal(struct store_seal *all, const struct store_seal *one, bool first)
{
    if (first)
        *all = *one;
    if (all->storage != one->storage)
        all->storage = 0;
    if (all->tag != one->tag)
        all->tag = 0;
}

static void place_keys(const struct hsm_working_key *keys, size_t count, struct iso_f62 *f62,
                       struct store_key_set *set)
{
    struct store_blob *const blobs[ISO_F62_SLOT_COUNT] = {
        [ISO_F62_PIK] = &set->pik, [ISO_F62_MAK] = &set->mak, [ISO_F62_TDK] = &set->tdk};
    for (size_t i = 0; i < count; i++) { /* specs are in slot order without gaps */
        place_key(&keys[i], (enum iso_f62_slot)i, f62);
        *blobs[i] = keys[i].blob;
        join_seal(&set->seal, &keys[i].seal, i == 0);
    }
}

/* Patent S403-S405: the service makes the keys, the blobs are stored, then the cryptograms may leave. */
static enum err_code make_f62(struct posp *posp, const struct request *request,
                              uint8_t out_f62[ISO_F62_BYTES_MAX], size_t *out_len, struct err *e)
{
    struct hsm_key_spec specs[ISO_F62_SLOT_COUNT];
    struct hsm_working_key keys[ISO_F62_SLOT_COUNT];
    struct store_key_set set = {.suite = request->device.suite};
    struct iso_f62 f62 = {0};
    size_t len = ISO_F62_BYTES_MAX; /* AES suites: 84 whatever the code */
    if (!request->rules->line->aes)
        TRY(iso_f62_len(request->f60.management, &len, e));
    TRY(refuse_single_des(request, len, e));
    const size_t count = key_specs(request->rules, len, specs);
    TRY(hsm_working_keys(posp->hsm, &request->device, specs, count, keys, e));
    place_keys(keys, count, &f62, &set);
    TRY(iso_f62_build(&f62, len, out_f62, e));
    snprintf(set.psam_number, sizeof set.psam_number, "%s", request->device.psam_number);
    TRY(store_keys_put(posp->store, request->device.terminal_id, &set, e));
    keyuse_changed(posp->keyuse);
    *out_len = len;
    return ERR_OK;
}

/* A key version that the token does not hold, or a policy, such as the least length of a MAK: trying again
 * does not help. */
static const char *code_of(enum err_code code)
{
    const bool for_good =
        code == ERR_NOT_FOUND || code == ERR_DENIED || code == ERR_INPUT || code == ERR_UNSUPPORTED;
    return for_good ? F39_SECURITY : F39_FAULT;
}

static enum err_code answer_signin(struct posp *posp, const struct request *request,
                                   const char *response_code, const uint8_t *f62, size_t f62_len,
                                   struct answer *out_answer, struct err *e)
{
    struct iso_message reply;
    iso_message_init(&reply, posp->dialect);
    enum err_code code = answer_begin(posp, request->message, response_code, NULL, &reply, e);
    if (code == ERR_OK && f62_len > 0)
        code = iso_set_bytes(&reply, 62, f62, f62_len, e);
    if (code == ERR_OK)
        code = answer_pack(&reply, out_answer, e);
    iso_message_drop(&reply);
    return code;
}

enum err_code signin_handle(struct posp *posp, const struct request *request, struct answer *out_answer,
                            struct err *e)
{
    uint8_t f62[ISO_F62_BYTES_MAX];
    size_t f62_len = 0;
    struct err why = {0};
    const char *refusal = check_card(request, &why);
    if (refusal == NULL) {
        const enum err_code code = make_f62(posp, request, f62, &f62_len, &why);
        if (code != ERR_OK)
            refusal = code_of(code);
    }
    if (refusal != NULL) {
        log_failure(LOG_WARN, "sign-in refused", &why, LOG_STR("terminal", request->device.terminal_id),
                    LOG_STR("code", refusal));
        return answer_signin(posp, request, refusal, NULL, 0, out_answer, e);
    }
    TRY(answer_signin(posp, request, F39_APPROVED, f62, f62_len, out_answer, e));
    atomic_fetch_add(&posp->sign_ins, 1);
    log_event(LOG_INFO, "terminal signed in", LOG_STR("terminal", request->device.terminal_id),
              LOG_STR("layout", request->f60.management));
    return ERR_OK;
}

enum err_code signoff_handle(struct posp *posp, const struct request *request, struct answer *out_answer,
                             struct err *e)
{
    return answer_signin(posp, request, F39_APPROVED, NULL, 0, out_answer, e);
}
