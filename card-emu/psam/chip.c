#include "card-emu/psam/chip.h"

#include "apdu/status.h"
#include "base/secret.h"

#include <string.h>

/* T=0, seven historical bytes. */
const uint8_t chip_atr[CHIP_ATR_BYTES] = {0x3B, 0x67, 0x00, 0x00, 'P', 'O', 'S', 'W', 'A', 'R', 'D'};

#define MF 0x3F00

struct command_row {
    uint8_t cla, ins;
    chip_command *run;
};

static chip_command get_response;

static const struct command_row commands[] = {
    {0x00, 0x82, chip_external_authenticate},
    {0x00, 0x84, chip_get_challenge},
    {0x00, 0xA4, chip_select},
    {0x00, 0xB0, chip_read_binary},
    {0x00, 0xC0, get_response},
    {0x80, 0x1A, chip_init_crypt},
    {0x80, 0xCA, chip_get_key_info},
    {0x80, 0xD0, chip_write_key_plain},
    {0x80, 0xD4, chip_write_key},
    {0x80, 0xFA, chip_crypt},
    {0x84, 0xD4, chip_write_key_secured},
};

void chip_init(struct chip *chip, const struct chip_image *image, const struct chip_memory *memory)
{
    chip->image = *image;
    chip->memory = *memory;
    chip_reset(chip);
}

void chip_drop(struct chip *chip)
{
    secret_wipe(chip, sizeof *chip);
}

void chip_reset(struct chip *chip)
{
    secret_wipe(&chip->session, sizeof chip->session);
    chip->session.directory = MF;
}

static uint16_t get_response(struct chip *chip, const struct apdu_command *command,
                             struct apdu_response *response)
{
    struct chip_session *s = &chip->session;
    if (s->pending_len == 0)
        return SW_CONDITIONS;
    if (command->p1 != 0 || command->p2 != 0)
        return SW_BAD_P1P2;
    if (!command->has_le || command->lc > 0)
        return SW_WRONG_LENGTH;
    if (command->le < APDU_LE_ANY && command->le > s->pending_len)
        return (uint16_t)(SW_EXACT_LENGTH | s->pending_len);
    response->data_len = command->le < s->pending_len ? command->le : s->pending_len;
    memcpy(response->data, s->pending, response->data_len);
    return SW_OK;
}

static uint16_t dispatch(struct chip *chip, const struct apdu_command *command,
                         struct apdu_response *response)
{
    bool class_known = false;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        class_known = class_known || commands[i].cla == command->cla;
        if (commands[i].cla == command->cla && commands[i].ins == command->ins)
            return commands[i].run(chip, command, response);
    }
    return class_known ? SW_BAD_INS : SW_BAD_CLA;
}

/* Data for a command without Le waits for GET RESPONSE; with an Le that is too short the command is to be
 * repeated. */
static void shape(struct chip *chip, const struct apdu_command *command, struct apdu_response *response)
{
    struct chip_session *s = &chip->session;
    secret_wipe(s->pending, sizeof s->pending);
    s->pending_len = 0;
    if (response->sw != SW_OK || response->data_len == 0 || command->has_le)
        return;
    memcpy(s->pending, response->data, response->data_len);
    s->pending_len = response->data_len;
    response->sw = (uint16_t)(SW_MORE | (response->data_len & 0xFF));
    response->data_len = 0;
}

size_t chip_answer(struct chip *chip, const uint8_t *command, size_t len,
                   uint8_t out_response[APDU_RESPONSE_MAX])
{
    struct apdu_response response = {.sw = SW_WRONG_LENGTH};
    struct apdu_command parsed;
    struct err ignored;
    if (apdu_command_parse(command, len, &parsed, &ignored) == ERR_OK) {
        response.sw = dispatch(chip, &parsed, &response);
        if (response.sw != SW_OK)
            response.data_len = 0;
        shape(chip, &parsed, &response);
    }
    return apdu_response_build(&response, out_response);
}
