#include "issuer/issue.h"

#include "apdu/status.h"
#include "base/hex.h"
#include "base/secret.h"
#include "issuer/registration.h"
#include "issuer/suites.h"

#include <stdio.h>
#include <string.h>

#define SFI_SERIAL   0x15
#define SERIAL_BYTES 14
#define SCRIPT_MOST  16 /* commands that POSP may send for one card */
#define WRAP_MAX     2

typedef Posward__Posp__V1__RequestCardKeyResponse CardKey;

struct issue {
    const struct issue_order *order;
    const struct issue_parts *parts;
    struct issue_result result;
    CardKey *key;
    char told[ISSUE_TOLD_BYTES];
};

static enum err_code call_posp(const struct issue *i, const char *method, const ProtobufCMessage *request,
                               ProtobufCMessage **out_response, struct err *e)
{
    const struct rpc_call_options options = {.timeout_ms = i->parts->timeout_ms, .idempotent = true};
    if (rpc_unary(i->parts->posp, &posward__posp__v1__card_keys__descriptor, method, request, &options,
                  out_response, e) != ERR_OK)
        return err_context(e, "POSP");
    return ERR_OK;
}

static enum err_code read_number(struct issue *i, struct err *e)
{
    struct apdu_response response;
    const struct apdu_command command = psam_read_binary(SFI_SERIAL, 0, SERIAL_BYTES);
    TRY(card_transmit(i->parts->card, &command, &response, e));
    TRY(psam_number_parse(&response, i->result.psam_number, e));
    snprintf(i->told, sizeof i->told, "the card in the reader has PSAM number %s", i->result.psam_number);
    return ERR_OK;
}

/* Before the card is written: a terminal that has another card is a mistake to be seen now. */
static enum err_code check_registration(struct issue *i, struct err *e)
{
    if (i->order->terminal_id == NULL)
        return ERR_OK;
    TRY(registration_check(i->order, i->parts, i->result.psam_number, e));
    snprintf(i->told, sizeof i->told, "terminal %s can take this card", i->order->terminal_id);
    return ERR_OK;
}

static enum err_code request_key(struct issue *i, struct err *e)
{
    const struct card_profile *profile = i->order->profile;
    struct apdu_response challenge;
    const struct apdu_command command = psam_get_challenge(profile->challenge_bytes);
    TRY(card_transmit(i->parts->card, &command, &challenge, e));
    if (challenge.data_len != profile->challenge_bytes)
        return err_set(e, ERR_INPUT, "the card's challenge has %zu bytes, not %d", challenge.data_len,
                       profile->challenge_bytes);
    Posward__Posp__V1__RequestCardKeyRequest request = POSWARD__POSP__V1__REQUEST_CARD_KEY_REQUEST__INIT;
    request.psam_number = i->result.psam_number;
    request.suite = i->order->suite;
    request.profile = profile->write_key;
    request.challenge = (ProtobufCBinaryData){challenge.data_len, challenge.data};
    request.wrap_version = i->result.wrap_version;
    ProtobufCMessage *response = NULL;
    TRY(call_posp(i, "RequestCardKey", &request.base, &response, e));
    i->key = (CardKey *)response;
    i->result.master_version = i->key->master_version;
    i->result.grade = i->key->grade;
    snprintf(i->told, sizeof i->told,
             "the TMK was derived from the number (%s, master version %u) and enciphered for this card  [%s]",
             suite_name(i->order->suite), i->key->master_version, grade_name(i->key->grade));
    return ERR_OK;
}

/* A POSP of before reads no wrap version, and says none. */
static enum err_code check_wrap_version(const struct issue *i, struct err *e)
{
    const uint32_t made = i->key->wrap_version == 0 ? 1 : i->key->wrap_version;
    if (made != i->result.wrap_version)
        return err_set(
            e, ERR_UNSUPPORTED,
            "POSP made a key of wrap version %u, not %u: update POSP and the HSM service, or issue with "
            "--wrap-version %u",
            made, i->result.wrap_version, made);
    return ERR_OK;
}

static enum err_code check_script(const struct issue *i, struct err *e)
{
    TRY(check_wrap_version(i, e));
    if (i->key->n_apdus == 0 || i->key->n_apdus > SCRIPT_MOST)
        return err_set(e, ERR_INTERNAL, "POSP sent %zu card commands; 1 to %d are possible", i->key->n_apdus,
                       SCRIPT_MOST);
    if (i->key->kcv.len < i->order->profile->kcv_bytes)
        return err_set(e, ERR_INTERNAL, "POSP sent a KCV of %zu bytes; the card tells %zu", i->key->kcv.len,
                       i->order->profile->kcv_bytes);
    return ERR_OK;
}

/* What a card of before says to a wrap version that it does not know. */
static const char *hint(const struct issue *i, const struct err *e)
{
    return e->native == SW_BAD_DATA && i->result.wrap_version > 1
               ? " (if this card knows wrap version 1 only, issue with --wrap-version 1)"
               : "";
}

static enum err_code write_key(struct issue *i, struct err *e)
{
    TRY(check_script(i, e));
    for (size_t n = 0; n < i->key->n_apdus; n++) {
        struct apdu_command command;
        struct apdu_response response;
        if (apdu_command_parse(i->key->apdus[n].data, i->key->apdus[n].len, &command, e) != ERR_OK ||
            card_transmit(i->parts->card, &command, &response, e) != ERR_OK)
            return err_context(e, "card command %zu of %zu%s", n + 1, i->key->n_apdus, hint(i, e));
    }
    snprintf(i->told, sizeof i->told, "the card took %zu command%s", i->key->n_apdus,
             i->key->n_apdus == 1 ? "" : "s");
    return ERR_OK;
}

/* Where the profile says where the card tells it: a service of before on the way would have dropped it. */
static enum err_code verify_wrap(const struct issue *i, const struct apdu_response *answer, struct err *e)
{
    const struct card_profile *profile = i->order->profile;
    if (profile->algorithm_at < 0)
        return ERR_OK;
    const uint8_t wrap = answer->data[profile->algorithm_at] & PSAM_ALGORITHM_HIGH;
    const uint32_t version = wrap == PSAM_WRAP_USAGE ? 2 : 1;
    if (version != i->result.wrap_version)
        return err_set(
            e, ERR_CHECK,
            "the card holds a TMK of wrap version %u, not %u: update the HSM service, or issue with "
            "--wrap-version %u",
            version, i->result.wrap_version, version);
    return ERR_OK;
}

static enum err_code verify_key(struct issue *i, struct err *e)
{
    const struct card_profile *profile = i->order->profile;
    struct apdu_response answer;
    TRY(card_transmit(i->parts->card, &profile->verify, &answer, e));
    if (answer.data_len != profile->answer_bytes)
        return err_set(e, ERR_INPUT, "the card's key information has %zu bytes; profile %s says %zu",
                       answer.data_len, profile->name, profile->answer_bytes);
    if (answer.data[profile->version_at] != i->key->master_version)
        return err_set(e, ERR_CHECK, "the card holds a TMK of master version %u, not %u",
                       answer.data[profile->version_at], i->key->master_version);
    TRY(verify_wrap(i, &answer, e));
    const uint8_t *kcv = answer.data + profile->kcv_at;
    if (!secret_equal(kcv, i->key->kcv.data, profile->kcv_bytes))
        return err_set(e, ERR_CHECK, "the KCV that the card tells is not that of the key made for it");
    memcpy(i->result.kcv, kcv, profile->kcv_bytes);
    i->result.kcv_bytes = profile->kcv_bytes;
    char text[2 * sizeof i->result.kcv + 1];
    hex_encode(kcv, profile->kcv_bytes, text);
    snprintf(i->told, sizeof i->told, "the card tells KCV %s, as the token does", text);
    return ERR_OK;
}

static enum err_code confirm_key(struct issue *i, struct err *e)
{
    Posward__Posp__V1__ConfirmCardKeyRequest request = POSWARD__POSP__V1__CONFIRM_CARD_KEY_REQUEST__INIT;
    request.psam_number = i->result.psam_number;
    request.kcv = (ProtobufCBinaryData){i->result.kcv_bytes, i->result.kcv};
    ProtobufCMessage *response = NULL;
    TRY(call_posp(i, "ConfirmCardKey", &request.base, &response, e));
    protobuf_c_message_free_unpacked(response, NULL);
    snprintf(i->told, sizeof i->told, "POSP keeps the card as written");
    return ERR_OK;
}

static enum err_code register_device(struct issue *i, struct err *e)
{
    static const char *const verbs[] = {[ISSUE_UNREGISTERED] = "",
                                        [ISSUE_REGISTERED] = "is registered",
                                        [ISSUE_WAS_REGISTERED] = "was registered before, with this very card",
                                        [ISSUE_UPDATED] = "has its entry brought up to date"};
    if (i->order->terminal_id == NULL)
        return ERR_OK;
    TRY(registration_make(i->order, i->parts, &i->result, e));
    snprintf(i->told, sizeof i->told, "terminal %s of merchant %s %s (revision %lld)", i->order->terminal_id,
             i->order->merchant_id, verbs[i->result.registration], (long long)i->result.revision);
    return ERR_OK;
}

static const struct {
    const char *patent_step, *name;
    enum err_code (*run)(struct issue *i, struct err *e);
} steps[] = {
    {"S301", "reading the card", read_number},
    {"S307", "looking up the terminal", check_registration},
    {"S301-S304", "requesting the key", request_key},
    {"S305", "writing the key", write_key},
    {"S305", "verifying the key", verify_key},
    {"S305", "confirming the key", confirm_key},
    {"S307", "registering the terminal", register_device},
};

/* What may pass by itself: the same command then finishes the work. */
static bool is_passing(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT || code == ERR_IO || code == ERR_CANCELLED;
}

static enum err_code run_steps(struct issue *i, struct err *e)
{
    for (size_t n = 0; n < sizeof steps / sizeof steps[0]; n++) {
        i->told[0] = '\0';
        const enum err_code code = steps[n].run(i, e);
        if (code != ERR_OK)
            return err_context(e, "%s, %s%s", steps[n].patent_step, steps[n].name,
                               is_passing(code) ? " (run the same command again)" : "");
        if (i->told[0] != '\0')
            i->parts->tell(i->parts->context, steps[n].patent_step, i->told);
    }
    return ERR_OK;
}

static enum err_code read_wrap_version(const struct issue_order *order, uint32_t *out_version, struct err *e)
{
    const bool tdes = order->suite == POSWARD__TYPES__V1__SUITE__SUITE_TDES;
    if (order->wrap_version > (tdes ? 1 : WRAP_MAX))
        return err_set(e, ERR_INPUT, "--wrap-version is %u; with suite %s it must be %s", order->wrap_version,
                       suite_name(order->suite), tdes ? "1" : "1 or 2");
    *out_version = order->wrap_version != 0 ? order->wrap_version : tdes ? 1 : WRAP_MAX;
    return ERR_OK;
}

enum err_code issue_card(const struct issue_order *order, const struct issue_parts *parts,
                         struct issue_result *out_result, struct err *e)
{
    TRY(card_profile_check_suite(order->profile, order->suite, e));
    struct issue issue = {.order = order, .parts = parts};
    TRY(read_wrap_version(order, &issue.result.wrap_version, e));
    const enum err_code code = run_steps(&issue, e);
    if (issue.key != NULL)
        protobuf_c_message_free_unpacked(&issue.key->base, NULL);
    if (code == ERR_OK)
        *out_result = issue.result;
    return code;
}
