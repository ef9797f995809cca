/* SELECT, READ BINARY, GET CHALLENGE, EXTERNAL AUTHENTICATE, GET KEY INFO. */
#include "apdu/psam.h"
#include "apdu/status.h"
#include "base/secret.h"
#include "card-emu/psam/chip.h"

#include <string.h>

#define MF             0x3F00
#define APPLICATION_DF 0xDF02
#define SELECT_BY_FILE 0x00
#define SELECT_BY_NAME 0x04

struct file_row {
    uint16_t directory, file; /* file 0: the directory itself */
    size_t offset, len;       /* in the image */
    const char *name;         /* of a directory */
};

#define EF(parent, id, member)                                                                               \
    {                                                                                                        \
        .directory = (parent), .file = (id), .offset = offsetof(struct chip_image, member),                  \
        .len = sizeof(((struct chip_image *)0)->member)                                                      \
    }

static const struct file_row files[] = {
    {.directory = MF, .name = "1PAY.SYS.DDF01"},
    EF(MF, 0x0015, ef_serial),
    EF(MF, 0x0016, ef_terminal),
    EF(MF, 0x0017, ef_public),
    {.directory = APPLICATION_DF, .name = "POSWARD.PSAM"},
    EF(APPLICATION_DF, 0x0019, ef_counter),
};
#define FILE_COUNT (sizeof files / sizeof files[0])

static const struct file_row *find_ef(uint16_t directory, uint16_t file)
{
    for (size_t i = 0; i < FILE_COUNT; i++) {
        if (files[i].file == file && file != 0 && files[i].directory == directory)
            return &files[i];
    }
    return NULL;
}

static const struct file_row *find_directory(const struct apdu_command *command)
{
    for (size_t i = 0; i < FILE_COUNT; i++) {
        const struct file_row *row = &files[i];
        if (row->name == NULL)
            continue;
        const bool by_name = command->p1 == SELECT_BY_NAME && strlen(row->name) == command->lc &&
                             strncmp(row->name, (const char *)command->data, command->lc) == 0;
        const bool by_id = command->p1 == SELECT_BY_FILE && command->lc == 2 &&
                           row->directory == (command->data[0] << 8 | command->data[1]);
        if (by_name || by_id)
            return row;
    }
    return NULL;
}

/* 6F len 84 len name: the name of a directory, the identifier of a file. */
static void put_fci(const void *name, size_t len, struct apdu_response *response)
{
    const uint8_t head[4] = {0x6F, (uint8_t)(len + 2), 0x84, (uint8_t)len};
    memcpy(response->data, head, sizeof head);
    memcpy(response->data + sizeof head, name, len);
    response->data_len = sizeof head + len;
}

uint16_t chip_select(struct chip *chip, const struct apdu_command *command, struct apdu_response *response)
{
    static const uint8_t master[2] = {MF >> 8, MF & 0xFF};
    if ((command->p1 != SELECT_BY_FILE && command->p1 != SELECT_BY_NAME) || command->p2 != 0)
        return SW_BAD_P1P2;
    struct apdu_command wanted = *command;
    if (command->p1 == SELECT_BY_FILE && command->lc == 0) {
        memcpy(wanted.data, master, sizeof master);
        wanted.lc = sizeof master;
    }
    if (command->p1 == SELECT_BY_FILE && wanted.lc != 2)
        return SW_WRONG_LENGTH;
    const struct file_row *directory = find_directory(&wanted);
    if (directory != NULL) {
        chip->session.directory = directory->directory;
        chip->session.file = 0;
        put_fci(directory->name, strlen(directory->name), response);
        return SW_OK;
    }
    const uint16_t file = (uint16_t)(wanted.data[0] << 8 | wanted.data[1]);
    if (command->p1 != SELECT_BY_FILE || find_ef(chip->session.directory, file) == NULL)
        return SW_FILE_NOT_FOUND;
    chip->session.file = file;
    put_fci(wanted.data, 2, response);
    return SW_OK;
}

uint16_t chip_read_binary(struct chip *chip, const struct apdu_command *command,
                          struct apdu_response *response)
{
    const bool by_sfi = (command->p1 & 0x80) != 0;
    if (by_sfi && (command->p1 & 0x60) != 0)
        return SW_BAD_P1P2;
    if (!command->has_le || command->lc > 0)
        return SW_WRONG_LENGTH;
    if (!by_sfi && chip->session.file == 0)
        return SW_NO_LOGICAL_CHANNEL;
    const uint16_t file = by_sfi ? command->p1 & 0x1F : chip->session.file;
    const struct file_row *row = find_ef(chip->session.directory, file);
    if (row == NULL)
        return SW_FILE_NOT_FOUND;
    chip->session.file = file;
    const size_t offset = by_sfi ? command->p2 : (size_t)command->p1 << 8 | command->p2;
    if (offset >= row->len)
        return SW_BAD_OFFSET;
    const size_t left = row->len - offset;
    if (command->le > left && command->le != APDU_LE_ANY)
        return (uint16_t)(SW_EXACT_LENGTH | left);
    response->data_len = command->le < left ? command->le : left;
    memcpy(response->data, (const uint8_t *)&chip->image + row->offset + offset, response->data_len);
    return SW_OK;
}

uint16_t chip_get_challenge(struct chip *chip, const struct apdu_command *command,
                            struct apdu_response *response)
{
    if (command->p1 != 0 || command->p2 != 0)
        return SW_BAD_P1P2;
    if (command->lc > 0 || !command->has_le || (command->le != 4 && command->le != 8))
        return SW_WRONG_LENGTH;
    random_bytes(chip->session.challenge, command->le);
    chip->session.challenge_len = command->le;
    memcpy(response->data, chip->session.challenge, command->le);
    response->data_len = command->le;
    return SW_OK;
}

/* 8 bytes E(TDES control key, challenge). Nothing on this card needs the security status that it gives; it is
 * the issuer's way to see that card and host have the same control key without writing. */
uint16_t chip_external_authenticate(struct chip *chip, const struct apdu_command *command,
                                    struct apdu_response *response)
{
    (void)response;
    struct chip_session *s = &chip->session;
    AUTO(emu_key) key = {0};
    uint8_t expected[8];
    struct err e;
    if (command->p1 != 0 || command->p2 != 0)
        return SW_BAD_P1P2;
    if (command->lc != sizeof expected || command->has_le)
        return SW_WRONG_LENGTH;
    const bool fresh = s->challenge_len == sizeof s->challenge;
    s->challenge_len = 0;
    if (chip->image.wrong_macs >= CHIP_WRONG_MACS_MAX)
        return SW_AUTH_BLOCKED;
    if (chip_key_load(&chip->image.keys[CHIP_CONTROL_TDES], &key, &e) != ERR_OK)
        return SW_KEY_NOT_FOUND;
    if (!fresh || emu_encrypt_ecb(&key, s->challenge, sizeof s->challenge, expected, &e) != ERR_OK)
        return SW_CONDITIONS;
    if (secret_equal(expected, command->data, sizeof expected))
        return SW_OK;
    const uint16_t sw = chip_wrong_mac(chip);
    return sw == SW_MEMORY ? sw : (uint16_t)(SW_TRIES_LEFT | (CHIP_WRONG_MACS_MAX - chip->image.wrong_macs));
}

uint16_t chip_get_key_info(struct chip *chip, const struct apdu_command *command,
                           struct apdu_response *response)
{
    if (command->p1 != 0)
        return SW_BAD_P1P2;
    if (command->lc > 0)
        return SW_WRONG_LENGTH;
    for (size_t i = CHIP_TMK; i < CHIP_KEY_COUNT; i++) {
        const struct chip_key *stored = &chip->image.keys[i];
        AUTO(emu_key) key = {0};
        struct err e;
        if (stored->usage != command->p2 || chip_key_load(stored, &key, &e) != ERR_OK)
            continue;
        if (command->has_le && command->le != 6 && command->le != APDU_LE_ANY)
            return SW_EXACT_LENGTH | 6;
        const uint8_t header[3] = {stored->usage, stored->version, stored->algorithm};
        memcpy(response->data, header, sizeof header);
        if (emu_kcv(&key, response->data + sizeof header, PSAM_KCV_BYTES, &e) != ERR_OK)
            return SW_KEY_UNUSABLE;
        response->data_len = sizeof header + PSAM_KCV_BYTES;
        return SW_OK;
    }
    return SW_KEY_NOT_FOUND;
}
