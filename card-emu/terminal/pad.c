#include "card-emu/terminal/pad.h"

#include "apdu/status.h"
#include "base/hex.h"
#include "base/secret.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/crypto/pin_block.h"
#include "iso8583/track2.h"

#include <string.h>

#define EF_SERIAL_SFI 0x15
#define MAC_CHUNK     240 /* whole AES blocks in an APDU */

/* In the order in which field 62 has them. */
static const enum psam_usage usages[PAD_KEY_COUNT] = {PSAM_PIK, PSAM_MAK, PSAM_TDK};

static enum err_code connect_card(struct pad *pad, struct err *e)
{
    struct apdu_response response;
    TRY(card_link_connect(&pad->link, pad->address, pad->timeout_ms, e));
    TRY(card_power_on(&pad->link, e));
    const struct apdu_command read = psam_read_binary(EF_SERIAL_SFI, 0, 14);
    TRY(card_transmit(&pad->link, &read, &response, e));
    return psam_number_parse(&response, pad->psam_number, e);
}

enum err_code pad_open(struct pad *pad, struct err *e)
{
    if (pad->link.transport != NULL)
        return ERR_OK;
    if (connect_card(pad, e) == ERR_OK)
        return ERR_OK;
    pad_drop(pad);
    return err_context(e, "PSAM card");
}

void pad_drop(struct pad *pad)
{
    card_link_drop(&pad->link);
}

enum err_code pad_read_keys(struct pad *pad, struct pad_keys *out_keys, struct err *e)
{
    struct pad_keys keys = {0};
    for (size_t i = 0; i < PAD_KEY_COUNT; i++) {
        const struct apdu_command ask = psam_get_key_info(usages[i]);
        struct apdu_response response;
        TRY(card_exchange(&pad->link, &ask, &response, e));
        if (response.sw == SW_OK && response.data_len == PAD_INFO_BYTES)
            memcpy(keys.info[i], response.data, PAD_INFO_BYTES);
        else if (response.sw != SW_KEY_NOT_FOUND)
            return err_native(e, ERR_CHECK, response.sw, "card answered %04X to GET KEY INFO", response.sw);
    }
    *out_keys = keys;
    return ERR_OK;
}

static uint8_t algorithm_of(enum terminal_suite suite, enum psam_usage usage, size_t cipher_len)
{
    const uint8_t cipher = suite == SUITE_AES ? PSAM_AES_128 : cipher_len == 8 ? PSAM_DES : PSAM_TDES;
    const uint8_t method = suite == SUITE_AES ? PSAM_MAC_CMAC : PSAM_MAC_BLOCKS;
    return usage == PSAM_MAK ? cipher | method : cipher;
}

enum err_code pad_write_keys(struct pad *pad, const struct iso_f62 *f62, uint8_t version, struct err *e)
{
    for (size_t i = 0; i < PAD_KEY_COUNT; i++) {
        const struct iso_f62_key *key = &f62->keys[i];
        if (key->cipher_len == 0)
            continue;
        const struct psam_key_header header = {.usage = usages[i],
                                               .version = version,
                                               .algorithm =
                                                   algorithm_of(pad->suite, usages[i], key->cipher_len)};
        struct apdu_command write;
        struct apdu_response response;
        TRY(psam_write_working_key(&header, key->cipher, key->cipher_len, key->cv, &write, e));
        TRY(card_transmit(&pad->link, &write, &response, e));
    }
    return ERR_OK;
}

static enum err_code choose_key(struct pad *pad, enum psam_usage usage, struct err *e)
{
    const struct apdu_command init = psam_init_crypt(usage);
    struct apdu_response response;
    return card_transmit(&pad->link, &init, &response, e);
}

/* One 80FA whose answer has `expected` bytes. */
static enum err_code crypt(struct pad *pad, uint8_t mode, const uint8_t *data, size_t len, uint8_t *out,
                           size_t expected, struct err *e)
{
    struct apdu_command command = psam_crypt(mode, data, len);
    struct apdu_response response;
    const enum err_code code = card_transmit(&pad->link, &command, &response, e);
    secret_wipe(&command, sizeof command);
    TRY(code);
    if (response.data_len != expected)
        return err_set(e, ERR_INPUT, "card answered %zu bytes, needs %zu", response.data_len, expected);
    if (expected > 0)
        memcpy(out, response.data, expected);
    return ERR_OK;
}

static enum err_code pin_block_4(struct pad *pad, const char *pin, const char *pan, uint8_t *out_block,
                                 struct err *e)
{
    uint8_t block[PAD_PIN_BLOCK_MAX], pan_field[PAD_PIN_BLOCK_MAX];
    TRY(emu_pan_field_4(pan, pan_field, e));
    TRY(emu_pin_field_4(pin, block, e));
    TRY(crypt(pad, PSAM_ENCRYPT_MORE, block, sizeof block, block, sizeof block, e));
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= pan_field[i];
    return crypt(pad, PSAM_ENCRYPT_LAST, block, sizeof block, out_block, sizeof block, e);
}

enum err_code pad_pin_block(struct pad *pad, const char *pin, const char *pan,
                            uint8_t out_block[PAD_PIN_BLOCK_MAX], size_t *out_len, struct err *e)
{
    uint8_t block[PAD_PIN_BLOCK_MAX];
    const size_t len = pad->suite == SUITE_AES ? EMU_PIN_FIELD_4_BYTES : EMU_PIN_BLOCK_BYTES;
    TRY(choose_key(pad, PSAM_PIK, e));
    if (pad->suite == SUITE_AES) {
        TRY(pin_block_4(pad, pin, pan, block, e));
    } else {
        TRY(emu_pin_block_build(0, pin, pan, block, e));
        TRY(crypt(pad, PSAM_ENCRYPT_LAST, block, len, block, len, e));
    }
    memcpy(out_block, block, len);
    *out_len = len;
    return ERR_OK;
}

enum err_code pad_encipher_track(struct pad *pad, char *track, struct err *e)
{
    const enum iso_track2_rule rule = pad->suite == SUITE_AES ? ISO_TRACK2_AES : ISO_TRACK2_TDES;
    uint8_t bytes[ISO_TRACK2_CLEAR_MAX];
    size_t len = 0;
    TRY(iso_track2_slice(rule, track, bytes, &len, e));
    TRY(choose_key(pad, PSAM_TDK, e));
    TRY(crypt(pad, PSAM_ENCRYPT_LAST, bytes, len, bytes, len, e));
    return iso_track2_put(rule, track, bytes, len, e);
}

/* UnionPay's MAC: the terminal folds the message, the card enciphers 16 hex characters in CBC from IV 0. */
static enum err_code mac_tdes(struct pad *pad, const uint8_t *input, size_t len,
                              uint8_t out_f64[PAD_F64_BYTES], struct err *e)
{
    uint8_t data[EMU_DES_BLOCK + 16] = {0}, mac[EMU_DES_BLOCK];
    char hex[PAD_F64_BYTES + 1];
    emu_unionpay_fold(input, len, data + EMU_DES_BLOCK);
    TRY(crypt(pad, PSAM_MAC_ONLY, data, sizeof data, mac, sizeof mac, e));
    hex_encode(mac, PAD_F64_BYTES / 2, hex);
    memcpy(out_f64, hex, PAD_F64_BYTES);
    return ERR_OK;
}

/* CMAC over the whole message in APDU-sized pieces; the first one begins with the IV block, which is zero. */
static enum err_code mac_aes(struct pad *pad, const uint8_t *input, size_t len,
                             uint8_t out_f64[PAD_F64_BYTES], struct err *e)
{
    uint8_t piece[MAC_CHUNK] = {0};
    size_t held = EMU_BLOCK_MAX;
    bool first = true;
    for (;;) {
        const size_t take = len < sizeof piece - held ? len : sizeof piece - held;
        memcpy(piece + held, input, take);
        input += take;
        len -= take;
        const bool last = len == 0;
        const uint8_t mode = first  ? (last ? PSAM_MAC_ONLY : PSAM_MAC_FIRST)
                             : last ? PSAM_MAC_LAST
                                    : PSAM_MAC_NEXT;
        TRY(crypt(pad, mode, piece, held + take, out_f64, last ? PAD_F64_BYTES : 0, e));
        if (last)
            return ERR_OK;
        held = 0;
        first = false;
    }
}

enum err_code pad_mac(struct pad *pad, const uint8_t *input, size_t len, uint8_t out_f64[PAD_F64_BYTES],
                      struct err *e)
{
    TRY(choose_key(pad, PSAM_MAK, e));
    return pad->suite == SUITE_AES ? mac_aes(pad, input, len, out_f64, e)
                                   : mac_tdes(pad, input, len, out_f64, e);
}
