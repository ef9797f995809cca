#include "apdu/status.h"
#include "card-emu/psam/chip.h"

uint16_t chip_commit(struct chip *chip, const struct chip_image *next)
{
    struct err ignored; /* the status word is all that a chip can say */
    if (chip->memory.save(chip->memory.state, next, &ignored) != ERR_OK)
        return SW_MEMORY;
    chip->image = *next;
    return SW_OK;
}

uint16_t chip_wrong_mac(struct chip *chip)
{
    struct chip_image next = chip->image;
    next.wrong_macs++;
    const uint16_t sw = chip_commit(chip, &next);
    chip_image_drop(&next);
    if (sw != SW_OK)
        return sw;
    return chip->image.wrong_macs >= CHIP_WRONG_MACS_MAX ? SW_LOCKED : SW_MAC_WRONG;
}
