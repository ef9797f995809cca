#include "card-emu/psam/maker.h"

#include "base/hex.h"
#include "card-emu/crypto/component.h"
#include "card-emu/crypto/diversify.h"

#include <string.h>

static enum err_code load_master(const struct option_list *files, enum emu_algorithm algorithm,
                                 struct emu_key *master, struct err *e)
{
    static const uint8_t zeros[EMU_KEY_BYTES_MAX];
    TRY(emu_key_init(master, algorithm, zeros, emu_key_len(algorithm), e));
    for (size_t i = 0; i < files->count; i++)
        TRY(emu_component_add(files->items[i], master->bytes, master->len, e));
    return ERR_OK;
}

static enum err_code make_tdes(const struct option_list *files, const uint8_t bcd[EMU_PSAM_BCD_BYTES],
                               struct chip_key *out_key, struct err *e)
{
    AUTO(emu_key) master = {0};
    AUTO(emu_key) control = {0};
    TRY(load_master(files, EMU_TDES, &master, e));
    TRY(emu_diversify_tdes(&master, bcd + EMU_PSAM_BCD_BYTES - EMU_FACTOR_BYTES, &control, e));
    chip_key_store(out_key, 0x00, 1, EMU_TDES, &control);
    return ERR_OK;
}

static enum err_code make_aes(const struct option_list *files, const uint8_t bcd[EMU_PSAM_BCD_BYTES],
                              struct chip_key *out_key, struct err *e)
{
    AUTO(emu_key) master = {0};
    AUTO(emu_key) control = {0};
    TRY(load_master(files, EMU_AES_256, &master, e));
    TRY(emu_diversify_aes(&master, EMU_DOMAIN_CONTROL, EMU_AES_128, bcd, &control, e));
    chip_key_store(out_key, 0x00, 1, EMU_AES_128, &control);
    return ERR_OK;
}

enum err_code maker_make(const struct card_order *order, struct chip_image *out_image, struct err *e)
{
    AUTO(chip_image) image = {0};
    uint8_t bcd[EMU_PSAM_BCD_BYTES];
    TRY(emu_psam_bcd(order->psam_number, bcd, e));
    if (order->tdes_files->count == 0 && order->aes_files->count == 0)
        return err_set(
            e, ERR_INPUT,
            "a card needs a control key: give --control-tdes or --control-aes with component files");
    memcpy(image.ef_serial, bcd, sizeof bcd);
    image.ef_serial[EMU_PSAM_BCD_BYTES] = 0x01; /* version of the file structure */
    if (order->terminal_number != NULL) {
        if (strlen(order->terminal_number) != 2 * sizeof image.ef_terminal)
            return err_set(e, ERR_INPUT, "a terminal number in EF 0016 has 12 hex digits");
        TRY(hex_decode(order->terminal_number, 2 * sizeof image.ef_terminal, image.ef_terminal, e));
    }
    if (order->tdes_files->count > 0)
        TRY(make_tdes(order->tdes_files, bcd, &image.keys[CHIP_CONTROL_TDES], e));
    if (order->aes_files->count > 0)
        TRY(make_aes(order->aes_files, bcd, &image.keys[CHIP_CONTROL_AES], e));
    *out_image = image;
    return ERR_OK;
}
