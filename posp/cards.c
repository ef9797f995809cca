#include "posp/cards.h"

#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/terms.h"
#include "posp/keyuse.h"

#include <stdio.h>
#include <string.h>

#define KCV_BYTES       4
#define KCV_BYTES_LEAST 3

typedef Posward__Posp__V1__RequestCardKeyRequest key_request;
typedef Posward__Hsm__V1__DiversifyCardKeyResponse diversified;

static struct posp *posp_of(Posward__Posp__V1__CardKeys_Service *service)
{
    return ((struct cards *)service)->posp;
}

static enum err_code check_psam_number(const char *number, struct err *e)
{
    const size_t len = strlen(number);
    if (len < PSAM_DIGITS_MIN || len > PSAM_DIGITS_MAX || !digits_only(number, len))
        return err_set(e, ERR_INPUT, "psam_number must be %d to %d digits", PSAM_DIGITS_MIN, PSAM_DIGITS_MAX);
    return ERR_OK;
}

/* Patent S302: the rest of the request is the HSM service's to judge. */
static enum err_code diversify(struct posp *posp, const key_request *input, diversified **out_response,
                               struct err *e)
{
    Posward__Hsm__V1__DiversifyCardKeyRequest request = POSWARD__HSM__V1__DIVERSIFY_CARD_KEY_REQUEST__INIT;
    request.psam_number = input->psam_number;
    request.suite = input->suite;
    request.master_version = input->master_version;
    request.profile = input->profile;
    request.challenge = input->challenge;
    request.wrap_version = input->wrap_version;
    const struct rpc_call_options options = {.timeout_ms = posp->config->hsm_timeout_ms, .idempotent = true};
    ProtobufCMessage *response = NULL;
    TRY(rpc_unary(posp->hsm_channel, &posward__hsm__v1__data_plane__descriptor, "DiversifyCardKey",
                  &request.base, &options, &response, e));
    *out_response = (diversified *)response;
    return ERR_OK;
}

/* 0, from an issuer of before, is 1. */
static uint32_t wrap_version_of(const key_request *input)
{
    return input->wrap_version == 0 ? 1 : input->wrap_version;
}

/* Patent S304. */
static enum err_code keep(struct posp *posp, const key_request *input, const diversified *made, struct err *e)
{
    struct store_card card = {.suite = (int)input->suite,
                              .master_version = made->master_version,
                              .wrap_version = wrap_version_of(input),
                              .state = POSWARD__POSP__V1__CARD_STATE__CARD_STATE_REQUESTED,
                              .updated_ms = clock_wall_ms(),
                              .seal = {made->storage_version, made->tag_version},
                              .control_version = made->control_version};
    card.control_suite = input->profile == POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_PBOC
                             ? POSWARD__TYPES__V1__SUITE__SUITE_TDES
                             : POSWARD__TYPES__V1__SUITE__SUITE_AES_256;
    if (made->kcv.len != sizeof card.kcv || made->tmk_blob.len > sizeof card.tmk.bytes)
        return err_set(e, ERR_INTERNAL, "hsm: a card key with a KCV of %zu and a blob of %zu bytes",
                       made->kcv.len, made->tmk_blob.len);
    snprintf(card.psam_number, sizeof card.psam_number, "%s", input->psam_number);
    memcpy(card.kcv, made->kcv.data, sizeof card.kcv);
    if (made->tmk_blob.len > 0)
        memcpy(card.tmk.bytes, made->tmk_blob.data, made->tmk_blob.len);
    card.tmk.len = made->tmk_blob.len;
    TRY(store_card_put(posp->store, &card, e));
    keyuse_changed(posp->keyuse);
    return ERR_OK;
}

static void pass_on(const key_request *input, const diversified *made,
                    Posward__Posp__V1__RequestCardKeyResponse_Closure closure, void *call)
{
    Posward__Posp__V1__RequestCardKeyResponse response = POSWARD__POSP__V1__REQUEST_CARD_KEY_RESPONSE__INIT;
    response.n_apdus = made->n_apdus;
    response.apdus = made->apdus;
    response.kcv = made->kcv;
    response.master_version = made->master_version;
    response.grade = made->grade;
    response.wrap_version = wrap_version_of(input);
    closure(&response, call);
}

static void serve_request_card_key(Posward__Posp__V1__CardKeys_Service *service, const key_request *input,
                                   Posward__Posp__V1__RequestCardKeyResponse_Closure closure,
                                   void *closure_data)
{
    struct posp *posp = posp_of(service);
    struct err e = {0};
    diversified *made = NULL;
    enum err_code code = check_psam_number(input->psam_number, &e);
    if (code == ERR_OK)
        code = diversify(posp, input, &made, &e);
    if (code == ERR_OK)
        code = keep(posp, input, made, &e);
    if (code == ERR_OK) {
        log_event(LOG_INFO, "card key handed out", LOG_STR("psam", input->psam_number),
                  LOG_INT("version", made->master_version));
        pass_on(input, made, closure, closure_data);
    } else {
        log_failure(LOG_WARN, "card key refused", &e);
        rpc_call_fail(rpc_call_of(closure_data), &e);
    }
    if (made != NULL)
        posward__hsm__v1__diversify_card_key_response__free_unpacked(made, NULL);
}

static enum err_code confirm(struct posp *posp, const Posward__Posp__V1__ConfirmCardKeyRequest *input,
                             struct err *e)
{
    struct store_card card;
    TRY(check_psam_number(input->psam_number, e));
    if (input->kcv.len < KCV_BYTES_LEAST || input->kcv.len > KCV_BYTES)
        return err_set(e, ERR_INPUT, "kcv has %zu bytes, not 3 or 4", input->kcv.len);
    TRY(store_card_get(posp->store, input->psam_number, &card, e));
    if (!secret_equal(card.kcv, input->kcv.data, input->kcv.len))
        return err_set(e, ERR_STATE, "the card's KCV is not the one on record; ask for its key again");
    card.state = POSWARD__POSP__V1__CARD_STATE__CARD_STATE_WRITTEN;
    card.updated_ms = clock_wall_ms();
    return store_card_written(posp->store, &card, e);
}

static void serve_confirm_card_key(Posward__Posp__V1__CardKeys_Service *service,
                                   const Posward__Posp__V1__ConfirmCardKeyRequest *input,
                                   Posward__Posp__V1__ConfirmCardKeyResponse_Closure closure,
                                   void *closure_data)
{
    Posward__Posp__V1__ConfirmCardKeyResponse response = POSWARD__POSP__V1__CONFIRM_CARD_KEY_RESPONSE__INIT;
    struct err e = {0};
    if (confirm(posp_of(service), input, &e) == ERR_OK)
        closure(&response, closure_data);
    else
        rpc_call_fail(rpc_call_of(closure_data), &e);
}

static void serve_get_card(Posward__Posp__V1__CardKeys_Service *service,
                           const Posward__Posp__V1__GetCardRequest *input,
                           Posward__Posp__V1__Card_Closure closure, void *closure_data)
{
    struct store_card card;
    struct err e = {0};
    enum err_code code = check_psam_number(input->psam_number, &e);
    if (code == ERR_OK)
        code = store_card_get(posp_of(service)->store, input->psam_number, &card, &e);
    if (code != ERR_OK) {
        rpc_call_fail(rpc_call_of(closure_data), &e);
        return;
    }
    Posward__Posp__V1__Card response = POSWARD__POSP__V1__CARD__INIT;
    response.psam_number = card.psam_number;
    response.suite = (Posward__Types__V1__Suite)card.suite;
    response.master_version = card.master_version;
    response.kcv = (ProtobufCBinaryData){.data = card.kcv, .len = sizeof card.kcv};
    response.state = (Posward__Posp__V1__CardState)card.state;
    response.updated_ms = card.updated_ms;
    response.wrap_version = card.wrap_version;
    closure(&response, closure_data);
}

void cards_init(struct posp *posp, struct cards *out_cards)
{
    *out_cards = (struct cards){.service = POSWARD__POSP__V1__CARD_KEYS__INIT(serve_), .posp = posp};
}
