#include "tests/support/card_keys.h"

#include "apdu/psam.h"
#include "apdu/secure.h"
#include "base/hex.h"
#include "card-emu/crypto/diversify.h"
#include "card-emu/crypto/mac.h"
#include "rpc/server.h"

#include <check.h>
#include <posward/posp/v1/posp.pb-c.h>
#include <string.h>

typedef Posward__Posp__V1__CardKeys_Service Service;
typedef Posward__Posp__V1__RequestCardKeyRequest Request;

/* rpc_server_add takes a service; this is how a handler finds the double behind it. */
static struct {
    Service service;
    struct card_keys *keys;
} served;

static enum err_code master_of(const char *hex, enum emu_algorithm algorithm, struct emu_key *out_key,
                               struct err *e)
{
    uint8_t bytes[EMU_KEY_BYTES_MAX];
    TRY(hex_decode(hex, strlen(hex), bytes, e));
    return emu_key_init(out_key, algorithm, bytes, strlen(hex) / 2, e);
}

static enum emu_algorithm algorithm_of(const Request *request)
{
    static const enum emu_algorithm algorithms[] = {EMU_TDES, EMU_TDES, EMU_AES_128, EMU_AES_256};
    return algorithms[request->suite];
}

/* The control masters serve as PSAM masters too: what matters here is that both sides have the same. */
static enum err_code derive(const uint8_t bcd[EMU_PSAM_BCD_BYTES], enum emu_domain domain,
                            enum emu_algorithm algorithm, struct emu_key *out_key, struct err *e)
{
    AUTO(emu_key) master = {0};
    if (!emu_is_aes(algorithm)) {
        TRY(master_of(CARD_KEYS_CONTROL_TDES, EMU_TDES, &master, e));
        return emu_diversify_tdes(&master, bcd + EMU_PSAM_BCD_BYTES - EMU_FACTOR_BYTES, out_key, e);
    }
    TRY(master_of(CARD_KEYS_CONTROL_AES, EMU_AES_256, &master, e));
    return emu_diversify_aes(&master, domain, algorithm, bcd, out_key, e);
}

static enum err_code write_aes(const Request *request, const struct psam_key_header *header,
                               const struct emu_key *control, const struct emu_key *tmk,
                               struct apdu_command *out_command, struct err *e)
{
    uint8_t wrapped[40], input[8 + APDU_SM_PADDED_MAX], mac[EMU_BLOCK_MAX] = {0};
    TRY(emu_wrap(control, tmk->bytes, tmk->len, wrapped, e));
    TRY(psam_write_key_aes(header, wrapped, tmk->len + 8, mac, out_command, e));
    memcpy(input, request->challenge.data, 8);
    const size_t len = 8 + apdu_sm_mac_input(out_command, 3 + tmk->len + 8, APDU_AES_MAC_BYTES, input + 8);
    TRY(emu_cmac(control, input, len, mac, e));
    return psam_write_key_aes(header, wrapped, tmk->len + 8, mac, out_command, e);
}

static enum err_code write_pboc(const Request *request, const struct psam_key_header *header,
                                const struct emu_key *control, const struct emu_key *tmk,
                                struct apdu_command *out_command, struct err *e)
{
    uint8_t record[3 + 16] = {header->usage, header->version, header->algorithm};
    uint8_t bytes[APDU_SM_PADDED_MAX], iv[APDU_SM_IV_BYTES], mac[EMU_DES_BLOCK] = {0};
    memcpy(record + 3, tmk->bytes, 16);
    const size_t len = apdu_sm_plain(record, sizeof record, bytes);
    TRY(emu_encrypt_ecb(control, bytes, len, bytes, e));
    *out_command = psam_write_key_pboc(bytes, mac);
    uint8_t input[APDU_SM_PADDED_MAX];
    const size_t input_len = apdu_sm_mac_input(out_command, len, APDU_PBOC_MAC_BYTES, input);
    apdu_sm_iv(request->challenge.data, iv);
    TRY(emu_mac_pboc(control, iv, input, input_len, mac, e));
    *out_command = psam_write_key_pboc(bytes, mac);
    return ERR_OK;
}

static enum err_code make(const struct card_keys *k, const Request *request, struct apdu_command *out_command,
                          uint8_t out_kcv[4], struct err *e)
{
    const bool pboc = request->profile == POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_PBOC;
    uint8_t bcd[EMU_PSAM_BCD_BYTES];
    AUTO(emu_key) control = {0};
    AUTO(emu_key) tmk = {0};
    if (k->refuse != ERR_OK)
        return err_set(e, k->refuse, "refused as the test wants it");
    if (request->challenge.len != (pboc ? 4 : 8))
        return err_set(e, ERR_INPUT, "challenge has %zu bytes", request->challenge.len);
    const bool by_usage = request->wrap_version == 2 && !k->no_wrap_version && !k->old_hsm;
    const struct psam_key_header header = {PSAM_TMK, (uint8_t)k->master_version,
                                           (uint8_t)(algorithm_of(request) |
                                                     (by_usage ? PSAM_WRAP_USAGE : PSAM_WRAP_TMK) |
                                                     (k->wrong_algorithm ? 0x40 : 0))};
    TRY(emu_psam_bcd(request->psam_number, bcd, e));
    TRY(derive(bcd, EMU_DOMAIN_CONTROL, pboc ? EMU_TDES : EMU_AES_128, &control, e));
    TRY(derive(bcd, EMU_DOMAIN_TMK, algorithm_of(request), &tmk, e));
    TRY((pboc ? write_pboc : write_aes)(request, &header, &control, &tmk, out_command, e));
    return emu_kcv(&tmk, out_kcv, 4, e);
}

static void card_keys__request_card_key(Service *service, const Request *input,
                                        Posward__Posp__V1__RequestCardKeyResponse_Closure closure, void *call)
{
    (void)service;
    struct card_keys *k = served.keys;
    struct apdu_command command;
    uint8_t bytes[APDU_COMMAND_MAX], kcv[4];
    size_t len = 0;
    struct err e = {0};
    k->requested++;
    if (make(k, input, &command, kcv, &e) != ERR_OK ||
        apdu_command_build(&command, bytes, &len, &e) != ERR_OK) {
        rpc_call_fail(rpc_call_of(call), &e);
        return;
    }
    kcv[0] ^= (uint8_t)(k->wrong_kcv != 0);
    bytes[len - 1] ^= (uint8_t)(k->wrong_mac != 0);
    ProtobufCBinaryData apdus[] = {{len, bytes}};
    Posward__Posp__V1__RequestCardKeyResponse response = POSWARD__POSP__V1__REQUEST_CARD_KEY_RESPONSE__INIT;
    response.n_apdus = k->no_commands ? 0 : 1;
    response.apdus = apdus;
    response.kcv = (ProtobufCBinaryData){sizeof kcv, kcv};
    response.master_version = k->master_version;
    response.grade = POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN;
    response.wrap_version = k->no_wrap_version ? 0 : input->wrap_version;
    closure(&response, call);
}

static void card_keys__confirm_card_key(Service *service,
                                        const Posward__Posp__V1__ConfirmCardKeyRequest *input,
                                        Posward__Posp__V1__ConfirmCardKeyResponse_Closure closure, void *call)
{
    (void)service;
    (void)input;
    served.keys->confirmed++;
    const Posward__Posp__V1__ConfirmCardKeyResponse response =
        POSWARD__POSP__V1__CONFIRM_CARD_KEY_RESPONSE__INIT;
    closure(&response, call);
}

static void card_keys__get_card(Service *service, const Posward__Posp__V1__GetCardRequest *input,
                                Posward__Posp__V1__Card_Closure closure, void *call)
{
    (void)service;
    (void)input;
    (void)closure;
    struct err e = {0};
    (void)err_set(&e, ERR_UNSUPPORTED, "this double keeps no cards");
    rpc_call_fail(rpc_call_of(call), &e);
}

void card_keys_start(struct card_keys *k)
{
    static const Service service = POSWARD__POSP__V1__CARD_KEYS__INIT(card_keys__);
    const struct rpc_server_options options = {.listen = "127.0.0.1:0", .tls = {.insecure = true}};
    struct err e = {0};
    *k = (struct card_keys){.master_version = 1};
    served.service = service;
    served.keys = k;
    ck_assert_msg(rpc_server_new(&options, &k->server, &e) == ERR_OK &&
                      rpc_server_add(k->server, &served.service.base, &e) == ERR_OK &&
                      rpc_server_start(k->server, &e) == ERR_OK,
                  "%s", e.note);
    k->port = rpc_server_port(k->server);
}

void card_keys_stop(struct card_keys *k)
{
    if (k->server == NULL)
        return;
    rpc_server_drain(k->server, 0, 1000);
    rpc_server_free(k->server);
    k->server = NULL;
}
