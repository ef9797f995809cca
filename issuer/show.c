#include "issuer/show.h"

#include "apdu/psam.h"
#include "apdu/status.h"
#include "base/hex.h"

#include <string.h>

static const struct file_row {
    uint8_t sfi;
    uint16_t bytes;
    const char *name;
} files[] = {
    {0x15, 14, "0015"}, /* serial number, version, key type, instruction set, FCI */
    {0x16, 6, "0016"},  /* terminal number */
    {0x17, 25, "0017"}, /* key index, issuer, recipient, dates */
};

static const struct key_row {
    enum psam_usage usage;
    const char *name;
} keys[] = {{PSAM_TMK, "TMK"}, {PSAM_PIK, "PIK"}, {PSAM_MAK, "MAK"}, {PSAM_TDK, "TDK"}};

static const char *algorithm_name(uint8_t algorithm)
{
    static const char *const names[] = {
        [PSAM_TDES] = "3DES", [PSAM_DES] = "DES", [PSAM_AES_128] = "AES-128", [PSAM_AES_256] = "AES-256"};
    const uint8_t cipher = algorithm & PSAM_ALGORITHM_LOW;
    return cipher < sizeof names / sizeof names[0] ? names[cipher] : "unknown";
}

/* Of a TMK. */
static int wrap_version(uint8_t algorithm)
{
    return (algorithm & PSAM_ALGORITHM_HIGH) == PSAM_WRAP_USAGE ? 2 : 1;
}

static json_t *hex_json(const uint8_t *bytes, size_t len)
{
    char text[2 * APDU_RESPONSE_MAX + 1];
    hex_encode(bytes, len, text);
    return json_string(text);
}

/* *out_there false: the card has no such thing. */
static enum err_code ask(struct card_link *card, const struct apdu_command *command,
                         struct apdu_response *out_response, bool *out_there, struct err *e)
{
    TRY(card_exchange(card, command, out_response, e));
    *out_there = out_response->sw == SW_OK;
    if (*out_there || out_response->sw == SW_FILE_NOT_FOUND || out_response->sw == SW_KEY_NOT_FOUND)
        return ERR_OK;
    return err_native(e, ERR_CHECK, out_response->sw, "the card answered %04X: %s", out_response->sw,
                      apdu_sw_text(out_response->sw));
}

static enum err_code read_files(struct card_link *card, json_t *json, struct err *e)
{
    json_t *list = json_object();
    json_object_set_new(json, "files", list);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct apdu_response response;
        bool there = false;
        const struct apdu_command command = psam_read_binary(files[i].sfi, 0, files[i].bytes);
        TRY(ask(card, &command, &response, &there, e));
        if (there)
            json_object_set_new(list, files[i].name, hex_json(response.data, response.data_len));
        if (i > 0)
            continue;
        char number[2 * PSAM_SERIAL_BYTES + 1];
        if (!there)
            return err_set(e, ERR_NOT_FOUND, "the card has no EF 0015: it is no PSAM");
        TRY(psam_number_parse(&response, number, e));
        json_object_set_new(json, "psamNumber", json_string(number));
    }
    return ERR_OK;
}

static enum err_code read_keys(struct card_link *card, json_t *json, struct err *e)
{
    json_t *list = json_array();
    json_object_set_new(json, "keys", list);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct apdu_response response;
        struct psam_key_info info;
        bool there = false;
        const struct apdu_command command = psam_get_key_info(keys[i].usage);
        TRY(ask(card, &command, &response, &there, e));
        if (!there)
            continue;
        TRY(psam_key_info_parse(&response, &info, e));
        json_t *key = json_object();
        json_array_append_new(list, key);
        json_object_set_new(key, "usage", json_string(keys[i].name));
        json_object_set_new(key, "version", json_integer(info.header.version));
        json_object_set_new(key, "algorithm", json_string(algorithm_name(info.header.algorithm)));
        if (keys[i].usage == PSAM_TMK)
            json_object_set_new(key, "wrapVersion", json_integer(wrap_version(info.header.algorithm)));
        json_object_set_new(key, "kcv", hex_json(info.kcv, sizeof info.kcv));
    }
    return ERR_OK;
}

enum err_code show_read(struct card_link *card, json_t **out_json, struct err *e)
{
    json_t *json = json_object();
    json_object_set_new(json, "psamNumber", json_null()); /* first in order; set when it is read */
    json_object_set_new(json, "atr", hex_json(card->atr, card->atr_len));
    enum err_code code = read_files(card, json, e);
    if (code == ERR_OK)
        code = read_keys(card, json, e);
    if (code != ERR_OK) {
        json_decref(json);
        return code;
    }
    *out_json = json;
    return ERR_OK;
}

void show_print(const json_t *json, FILE *out)
{
    fprintf(out, "PSAM number  %s\n", json_string_value(json_object_get(json, "psamNumber")));
    fprintf(out, "ATR          %s\n", json_string_value(json_object_get(json, "atr")));
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(json, "files"), name, value)
        fprintf(out, "file %s    %s\n", name, json_string_value(value));
    size_t i;
    json_array_foreach(json_object_get(json, "keys"), i, value)
    {
        const json_t *const wrap = json_object_get(value, "wrapVersion");
        fprintf(out, "%-11s  version %lld, %s, ", json_string_value(json_object_get(value, "usage")),
                (long long)json_integer_value(json_object_get(value, "version")),
                json_string_value(json_object_get(value, "algorithm")));
        if (wrap != NULL)
            fprintf(out, "wrap version %lld, ", (long long)json_integer_value(wrap));
        fprintf(out, "KCV %s\n", json_string_value(json_object_get(value, "kcv")));
    }
    if (json_array_size(json_object_get(json, "keys")) == 0)
        fputs("no keys\n", out);
}
