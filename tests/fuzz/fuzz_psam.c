/* The emulated card: any sequence of APDUs (each a length byte and that many bytes) gets status words, and no
 * key of the card ever stands in a response. A zero length is a reset. */
#include "card-emu/psam/chip.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err_code save(void *state, const struct chip_image *image, struct err *e)
{
    (void)state;
    (void)image;
    (void)e;
    return ERR_OK;
}

static struct chip_image fresh_image(void)
{
    struct chip_image image = {.ef_serial = {0x62, 0x01}};
    const struct emu_key tdes = {.algorithm = EMU_TDES, .len = 16, .bytes = "control key TDES"};
    const struct emu_key aes = {.algorithm = EMU_AES_128, .len = 16, .bytes = "control key AES!"};
    const struct emu_key working = {.algorithm = EMU_TDES, .len = 16, .bytes = "working key TDES"};
    chip_key_store(&image.keys[CHIP_CONTROL_TDES], 0, 1, EMU_TDES, &tdes);
    chip_key_store(&image.keys[CHIP_CONTROL_AES], 0, 1, EMU_AES_128, &aes);
    chip_key_store(&image.keys[CHIP_TMK], 5, 1, EMU_TDES, &working);
    chip_key_store(&image.keys[CHIP_MAK], 6, 1, 0x10, &working);
    chip_key_store(&image.keys[CHIP_PIK], 13, 1, EMU_TDES, &working);
    chip_key_store(&image.keys[CHIP_TDK], 7, 1, EMU_TDES, &working);
    return image;
}

static void check_response(const struct chip *chip, const uint8_t *response, size_t len)
{
    if (len < 2 || len > APDU_RESPONSE_MAX)
        abort();
    for (size_t i = 0; i < CHIP_KEY_COUNT; i++) {
        const struct chip_key *key = &chip->image.keys[i];
        if (key->len >= 16 && memmem(response, len, key->bytes, key->len) != NULL)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct chip chip;
    const struct chip_image image = fresh_image();
    chip_init(&chip, &image, &(struct chip_memory){.save = save});
    while (size > 0) {
        uint8_t response[APDU_RESPONSE_MAX];
        const size_t len = data[0] < size - 1 ? data[0] : size - 1;
        if (len == 0)
            chip_reset(&chip);
        else
            check_response(&chip, response, chip_answer(&chip, data + 1, len, response));
        data += 1 + len;
        size -= 1 + len;
    }
    return 0;
}
