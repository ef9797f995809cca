#include "apdu/psam.h"

#include "base/hex.h"

#include <string.h>

#define HEADER_BYTES 3

static void append(struct apdu_command *command, const void *bytes, size_t len)
{
    memcpy(command->data + command->lc, bytes, len);
    command->lc = (uint8_t)(command->lc + len);
}

struct apdu_command psam_select(uint16_t file)
{
    struct apdu_command command = {.cla = 0x00, .ins = 0xA4};
    append(&command, (const uint8_t[]){(uint8_t)(file >> 8), (uint8_t)file}, 2);
    return command;
}

struct apdu_command psam_read_binary(uint8_t sfi, uint8_t offset, uint16_t le)
{
    return (struct apdu_command){
        .cla = 0x00, .ins = 0xB0, .p1 = 0x80 | sfi, .p2 = offset, .has_le = true, .le = le};
}

struct apdu_command psam_get_challenge(uint8_t bytes)
{
    return (struct apdu_command){.cla = 0x00, .ins = 0x84, .has_le = true, .le = bytes};
}

struct apdu_command psam_get_key_info(enum psam_usage usage)
{
    return (struct apdu_command){.cla = 0x80, .ins = 0xCA, .p2 = (uint8_t)usage, .has_le = true, .le = 6};
}

struct apdu_command psam_get_response(uint16_t le)
{
    return (struct apdu_command){.cla = 0x00, .ins = 0xC0, .has_le = true, .le = le};
}

struct apdu_command psam_init_crypt(enum psam_usage usage)
{
    return (struct apdu_command){.cla = 0x80, .ins = 0x1A, .p1 = (uint8_t)usage};
}

struct apdu_command psam_crypt(uint8_t mode, const uint8_t *data, size_t len)
{
    struct apdu_command command = {.cla = 0x80, .ins = 0xFA, .p1 = mode};
    append(&command, data, len <= APDU_DATA_MAX ? len : 0);
    command.has_le = mode != PSAM_MAC_FIRST && mode != PSAM_MAC_NEXT;
    command.le = APDU_LE_ANY;
    return command;
}

enum err_code psam_write_working_key(const struct psam_key_header *header, const uint8_t *cipher,
                                     size_t cipher_len, const uint8_t cv[PSAM_CV_BYTES],
                                     struct apdu_command *out_command, struct err *e)
{
    if (cipher_len != 8 && cipher_len != 16 && cipher_len != 24 && cipher_len != PSAM_WORKING_CIPHER_MAX)
        return err_set(e, ERR_INPUT, "working key cryptogram of %zu bytes; 8, 16, 24 or 40 are possible",
                       cipher_len);
    struct apdu_command command = {.cla = 0x80, .ins = 0xD4, .p1 = 0x02};
    append(&command, (const uint8_t[]){header->usage, header->version, header->algorithm}, HEADER_BYTES);
    append(&command, cipher, cipher_len);
    append(&command, cv, PSAM_CV_BYTES);
    *out_command = command;
    return ERR_OK;
}

struct apdu_command psam_write_key_pboc(const uint8_t enciphered[24], const uint8_t mac[4])
{
    struct apdu_command command = {.cla = 0x84, .ins = 0xD4};
    append(&command, enciphered, 24);
    append(&command, mac, 4);
    return command;
}

enum err_code psam_write_key_aes(const struct psam_key_header *header, const uint8_t *wrapped,
                                 size_t wrapped_len, const uint8_t mac[8], struct apdu_command *out_command,
                                 struct err *e)
{
    if (wrapped_len != 24 && wrapped_len != 40)
        return err_set(e, ERR_INPUT, "wrapped key of %zu bytes; 24 or 40 are possible", wrapped_len);
    struct apdu_command command = {.cla = 0x84, .ins = 0xD4, .p1 = 0x01};
    append(&command, (const uint8_t[]){header->usage, header->version, header->algorithm}, HEADER_BYTES);
    append(&command, wrapped, wrapped_len);
    append(&command, mac, 8);
    *out_command = command;
    return ERR_OK;
}

enum err_code psam_number_parse(const struct apdu_response *response,
                                char out_number[2 * PSAM_SERIAL_BYTES + 1], struct err *e)
{
    char text[2 * PSAM_SERIAL_BYTES + 1];
    if (response->data_len < PSAM_SERIAL_BYTES)
        return err_set(e, ERR_INPUT, "EF 0015 has %zu bytes, needs 14", response->data_len);
    hex_encode(response->data, PSAM_SERIAL_BYTES, text);
    if (!digits_only(text, sizeof text - 1))
        return err_set(e, ERR_INPUT, "the PSAM number in EF 0015 is not BCD");
    memcpy(out_number, text, sizeof text);
    return ERR_OK;
}

enum err_code psam_key_info_parse(const struct apdu_response *response, struct psam_key_info *out_info,
                                  struct err *e)
{
    if (response->data_len != HEADER_BYTES + PSAM_KCV_BYTES)
        return err_set(e, ERR_INPUT, "key information of %zu bytes, needs 6", response->data_len);
    out_info->header = (struct psam_key_header){response->data[0], response->data[1], response->data[2]};
    memcpy(out_info->kcv, response->data + HEADER_BYTES, PSAM_KCV_BYTES);
    return ERR_OK;
}
