/* The card maker: a fresh card with its serial number and its control keys, made in software from the control
 * masters' components - what a card factory does in its own safe room. */
#ifndef POSWARD_CARD_EMU_PSAM_MAKER_H
#define POSWARD_CARD_EMU_PSAM_MAKER_H

#include "card-emu/options/options.h"
#include "card-emu/psam/image.h"

struct card_order {
    const char *psam_number;     /* 16 to 20 digits */
    const char *terminal_number; /* EF 0016, 12 hex digits; NULL: zeros */
    const struct option_list
        *tdes_files; /* components of the TDES card-control master, 32 hex digits each; or none */
    const struct option_list *aes_files; /* of the AES one, 64 hex digits each; or none */
};

/* ERR_INPUT names what is wrong with the order; ERR_DENIED a component file that is open to others. */
enum err_code maker_make(const struct card_order *order, struct chip_image *out_image,
                         struct err *e) MUST_CHECK;

#endif
