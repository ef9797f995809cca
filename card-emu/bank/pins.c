#include "card-emu/bank/pins.h"

#include "base/hex.h"
#include "base/secret.h"
#include "card-emu/crypto/component.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/crypto/pin_block.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIN_KEY_BYTES 32

struct zone_key {
    struct emu_key key;
    uint32_t version;
};

struct pins {
    struct emu_key pin_key;
    struct zone_key *zones;
    size_t zone_count;
};

static const struct {
    const char *name;
    enum emu_algorithm algorithm;
} suites[] = {{"tdes", EMU_TDES}, {"aes128", EMU_AES_128}, {"aes256", EMU_AES_256}};

static enum emu_algorithm algorithm_of(const char *suite)
{
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++)
        if (strcmp(suites[i].name, suite) == 0)
            return suites[i].algorithm;
    return EMU_TDES; /* bank_config_check has seen to it */
}

static enum err_code load_zone(const struct zone_key_config *config, struct zone_key *zone, struct err *e)
{
    const enum emu_algorithm algorithm = algorithm_of(config->suite);
    const size_t key_bytes = emu_key_len(algorithm);
    const struct component_config *components = config->components.items;
    uint8_t bytes[EMU_KEY_BYTES_MAX] = {0};
    enum err_code code =
        config->components.count > 0 ? ERR_OK : err_set(e, ERR_INPUT, "a zone key without components");
    for (size_t i = 0; i < config->components.count && code == ERR_OK; i++)
        code = emu_component_add(components[i].file, bytes, key_bytes, e);
    if (code == ERR_OK)
        code = emu_key_init(&zone->key, algorithm, bytes, key_bytes, e);
    zone->version = (uint32_t)config->version;
    secret_wipe(bytes, sizeof bytes);
    return code;
}

static enum err_code make_pin_key(const char *path, struct err *e)
{
    uint8_t bytes[PIN_KEY_BYTES];
    char text[2UL * PIN_KEY_BYTES + 2];
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? ERR_OK : err_errno(e, "cannot make %.100s", path);
    random_bytes(bytes, sizeof bytes);
    hex_encode(bytes, sizeof bytes, text);
    text[sizeof text - 2] = '\n';
    const bool good = write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1 && fsync(fd) == 0;
    secret_wipe(bytes, sizeof bytes);
    secret_wipe(text, sizeof text);
    close(fd);
    return good ? ERR_OK : err_errno(e, "cannot write %.100s", path);
}

static enum err_code load_pin_key(const struct bank_config *config, bool may_make, struct emu_key *key,
                                  struct err *e)
{
    char path[4096];
    uint8_t bytes[PIN_KEY_BYTES] = {0};
    if (config->pin_key_file != NULL)
        snprintf(path, sizeof path, "%s", config->pin_key_file);
    else
        snprintf(path, sizeof path, "%s.pvk", config->store_path);
    if (may_make)
        TRY(make_pin_key(path, e));
    else if (access(path, F_OK) != 0)
        return err_errno(e, "the accounts' PINs are checked with the key in %.100s: restore that file", path);
    enum err_code code = emu_component_add(path, bytes, sizeof bytes, e);
    if (code == ERR_OK)
        code = emu_key_init(key, EMU_AES_256, bytes, sizeof bytes, e);
    secret_wipe(bytes, sizeof bytes);
    return code;
}

static enum err_code load_all(const struct bank_config *config, bool may_make, struct pins *pins,
                              struct err *e)
{
    const struct zone_key_config *keys = config->zone_keys.items;
    TRY(load_pin_key(config, may_make, &pins->pin_key, e));
    for (; pins->zone_count < config->zone_keys.count; pins->zone_count++)
        TRY(load_zone(&keys[pins->zone_count], &pins->zones[pins->zone_count], e));
    return ERR_OK;
}

enum err_code pins_open(const struct bank_config *config, bool may_make, struct pins **out_pins,
                        struct err *e)
{
    struct pins *pins = calloc(1, sizeof *pins);
    if (pins == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    pins->zones = calloc(config->zone_keys.count + 1, sizeof *pins->zones);
    const enum err_code code =
        pins->zones != NULL ? load_all(config, may_make, pins, e) : err_set(e, ERR_LIMIT, "out of memory");
    if (code != ERR_OK) {
        pins_free(pins);
        return code;
    }
    *out_pins = pins;
    return ERR_OK;
}

void pins_free(struct pins *pins)
{
    if (pins == NULL)
        return;
    for (size_t i = 0; pins->zones != NULL && i < pins->zone_count; i++)
        emu_key_drop(&pins->zones[i].key);
    emu_key_drop(&pins->pin_key);
    free(pins->zones);
    free(pins);
}

enum err_code pins_check_value(const struct pins *pins, const char *pan, const char *pin,
                               uint8_t out_check[PINS_CHECK_BYTES], struct err *e)
{
    uint8_t input[64];
    const int len = snprintf((char *)input, sizeof input, "%s|%s", pan, pin);
    if (len < 0 || (size_t)len >= sizeof input)
        return err_set(e, ERR_INPUT, "card number or PIN is too long");
    const enum err_code code = emu_cmac(&pins->pin_key, input, (size_t)len, out_check, e);
    secret_wipe(input, sizeof input);
    return code;
}

static const struct zone_key *find_zone(const struct pins *pins, bool aes, uint32_t version)
{
    const struct zone_key *best = NULL;
    for (size_t i = 0; i < pins->zone_count; i++) {
        const struct zone_key *z = &pins->zones[i];
        if (emu_is_aes(z->key.algorithm) != aes || (version != 0 && version != z->version))
            continue;
        if (best == NULL || z->version > best->version)
            best = z;
    }
    return best;
}

static enum err_code open_format_0(const struct zone_key *zone,
                                   const Posward__Business__V1__AuthorizeRequest *request,
                                   char out_pin[EMU_PIN_DIGITS_MAX + 1], struct err *e)
{
    uint8_t block[EMU_PIN_BLOCK_BYTES];
    if (request->pin_block.len != sizeof block)
        return err_set(e, ERR_INPUT, "pin_block has %zu bytes, not 8", request->pin_block.len);
    TRY(emu_decrypt_ecb(&zone->key, request->pin_block.data, sizeof block, block, e));
    const enum err_code code = emu_pin_block_parse(0, block, request->pan, out_pin, e);
    secret_wipe(block, sizeof block);
    return code;
}

static enum err_code open_format_4(const struct zone_key *zone,
                                   const Posward__Business__V1__AuthorizeRequest *request,
                                   char out_pin[EMU_PIN_DIGITS_MAX + 1], struct err *e)
{
    uint8_t field[EMU_PIN_FIELD_4_BYTES];
    if (request->pin_block.len != sizeof field)
        return err_set(e, ERR_INPUT, "pin_block has %zu bytes, not 16", request->pin_block.len);
    TRY(emu_pin_block_4_decrypt(&zone->key, request->pin_block.data, request->pan, field, e));
    const enum err_code code = emu_pin_field_4_parse(field, out_pin, e);
    secret_wipe(field, sizeof field);
    return code;
}

enum err_code pins_open_block(const struct pins *pins, const Posward__Business__V1__AuthorizeRequest *request,
                              uint8_t out_check[PINS_CHECK_BYTES], struct err *e)
{
    const bool aes = request->pin_format == POSWARD__BUSINESS__V1__PIN_BLOCK_FORMAT__PIN_BLOCK_FORMAT_ISO_4;
    if (!aes && request->pin_format != POSWARD__BUSINESS__V1__PIN_BLOCK_FORMAT__PIN_BLOCK_FORMAT_ISO_0)
        return err_set(e, ERR_INPUT, "pin_format is neither ISO 0 nor ISO 4");
    const struct zone_key *zone = find_zone(pins, aes, request->zone_key_version);
    if (zone == NULL)
        return err_set(e, ERR_NOT_FOUND, "no %s zone PIN key of version %u", aes ? "AES" : "TDES",
                       request->zone_key_version);
    char pin[EMU_PIN_DIGITS_MAX + 1] = "";
    enum err_code code = aes ? open_format_4(zone, request, pin, e) : open_format_0(zone, request, pin, e);
    if (code == ERR_OK)
        code = pins_check_value(pins, request->pan, pin, out_check, e);
    secret_wipe(pin, sizeof pin);
    return code;
}
