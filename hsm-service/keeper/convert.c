#include "hsm-service/keeper/convert.h"

#include "base/hex.h"
#include "base/terms.h"

#include <string.h>

#define PSAM_LEAST      16
#define PAN_LEAST       12
#define PAN_MOST        19
#define ZONE_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789-"

/* Our numbers for what the .proto names. Index: the .proto's value; 0: not given. */
static const enum tok_suite suites[] = {
    [POSWARD__TYPES__V1__SUITE__SUITE_TDES] = TOK_TDES,
    [POSWARD__TYPES__V1__SUITE__SUITE_AES_128] = TOK_AES_128,
    [POSWARD__TYPES__V1__SUITE__SUITE_AES_256] = TOK_AES_256,
};
static const enum tok_usage usages[] = {
    [POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_PIK] = TOK_PIK,
    [POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_MAK] = TOK_MAK,
    [POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_TDK] = TOK_TDK,
    [POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_TMK] = TOK_TMK,
};
static const enum tok_pin_format pin_formats[] = {
    [POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_0] = TOK_PIN_0,
    [POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_1] = TOK_PIN_1,
    [POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_3] = TOK_PIN_3,
    [POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_4] = TOK_PIN_4,
};
static const enum tok_cipher ciphers[] = {
    [POSWARD__HSM__V1__CIPHER_MODE__CIPHER_MODE_UNSPECIFIED] = TOK_ECB,
    [POSWARD__HSM__V1__CIPHER_MODE__CIPHER_MODE_ECB] = TOK_ECB,
    [POSWARD__HSM__V1__CIPHER_MODE__CIPHER_MODE_CBC] = TOK_CBC,
};
static const enum tok_card_profile profiles[] = {
    [POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_UNSPECIFIED] = TOK_CARD_AES,
    [POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_AES] = TOK_CARD_AES,
    [POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_PBOC] = TOK_CARD_PBOC,
};
static const struct {
    enum tok_mac algorithm;
    size_t mac_bytes;
} macs[] = {
    [POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_UNIONPAY_ECB] = {TOK_MAC_UNIONPAY, 8},
    [POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_X9_9] = {TOK_MAC_X9_9, 8},
    [POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_X9_19] = {TOK_MAC_X9_19, 8},
    [POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_ISO9797_1_ALG1_PAD1] = {TOK_MAC_ALG1_PAD1, 8},
    [POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_ISO9797_1_ALG1_PAD2] = {TOK_MAC_ALG1_PAD2, 8},
    [POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_ISO9797_1_ALG3_PAD2] = {TOK_MAC_ALG3_PAD2, 8},
    [POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_AES_CMAC] = {TOK_MAC_CMAC, 16},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* An enum of the wire is any number. */
static enum err_code check_enum(int value, size_t count, bool zero_allowed, const char *field, struct err *e)
{
    if (value == 0 && !zero_allowed)
        return err_set(e, ERR_INPUT, "%s is missing", field);
    if (value < 0 || (size_t)value >= count)
        return err_set(e, ERR_INPUT, "%s has the unknown value %d", field, value);
    return ERR_OK;
}

enum err_code convert_length(size_t len, const char *field, size_t least, size_t most, struct err *e)
{
    if (len >= least && len <= most)
        return ERR_OK;
    if (len == 0)
        return err_set(e, ERR_INPUT, "%s is missing", field);
    if (least == most)
        return err_set(e, ERR_INPUT, "%s has %zu bytes; it must have %zu", field, len, least);
    return err_set(e, ERR_INPUT, "%s has %zu bytes; it must have %zu to %zu", field, len, least, most);
}

enum err_code convert_suite(Posward__Types__V1__Suite suite, enum tok_suite *out_suite, struct err *e)
{
    TRY(check_enum((int)suite, COUNT(suites), false, "suite", e));
    *out_suite = suites[suite];
    return ERR_OK;
}

enum err_code convert_usage(Posward__Types__V1__KeyUsage usage, enum tok_usage *out_usage, struct err *e)
{
    TRY(check_enum((int)usage, COUNT(usages), false, "usage", e));
    *out_usage = usages[usage];
    return ERR_OK;
}

enum err_code convert_mac_algorithm(Posward__Hsm__V1__MacAlgorithm algorithm, enum tok_mac *out_algorithm,
                                    size_t *out_mac_bytes, struct err *e)
{
    TRY(check_enum((int)algorithm, COUNT(macs), false, "algorithm", e));
    *out_algorithm = macs[algorithm].algorithm;
    *out_mac_bytes = macs[algorithm].mac_bytes;
    return ERR_OK;
}

/* What stands behind the prefix of a value's name. */
static const char *name_of(const ProtobufCEnumDescriptor *names, size_t value, const char *prefix)
{
    return protobuf_c_enum_descriptor_get_value(names, (int)value)->name + strlen(prefix);
}

const char *convert_usage_name(enum tok_usage usage)
{
    return name_of(&posward__types__v1__key_usage__descriptor, (size_t)convert_usage_back(usage),
                   "KEY_USAGE_");
}

const char *convert_mac_name(enum tok_mac algorithm)
{
    for (size_t i = 1; i < COUNT(macs); i++)
        if (macs[i].algorithm == algorithm)
            return name_of(&posward__hsm__v1__mac_algorithm__descriptor, i, "MAC_ALGORITHM_");
    return "no algorithm";
}

enum err_code convert_pin_format(Posward__Hsm__V1__PinFormat format, const char *field,
                                 enum tok_pin_format *out_format, struct err *e)
{
    TRY(check_enum((int)format, COUNT(pin_formats), false, field, e));
    *out_format = pin_formats[format];
    return ERR_OK;
}

enum err_code convert_cipher(Posward__Hsm__V1__CipherMode mode, enum tok_cipher *out_mode, struct err *e)
{
    TRY(check_enum((int)mode, COUNT(ciphers), true, "mode", e));
    *out_mode = ciphers[mode];
    return ERR_OK;
}

enum err_code convert_profile(Posward__Hsm__V1__CardProfile profile, enum tok_card_profile *out_profile,
                              struct err *e)
{
    TRY(check_enum((int)profile, COUNT(profiles), true, "profile", e));
    *out_profile = profiles[profile];
    return ERR_OK;
}

enum err_code convert_version(uint32_t version, const char *field, bool newest_allowed, struct err *e)
{
    if (version == 0 && !newest_allowed)
        return err_set(e, ERR_INPUT, "%s is missing", field);
    if (version > KEY_VERSION_MAX)
        return err_set(e, ERR_INPUT, "%s is %u; it must be at most %d", field, (unsigned)version,
                       KEY_VERSION_MAX);
    return ERR_OK;
}

enum err_code convert_wrap_version(uint32_t version, enum tok_suite suite, unsigned *out_version,
                                   struct err *e)
{
    if (version > TOK_WRAP_MAX)
        return err_set(e, ERR_INPUT, "wrap_version is %u; it must be 1 or 2", (unsigned)version);
    if (version == TOK_WRAP_USAGE && suite == TOK_TDES)
        return err_set(e, ERR_INPUT, "wrap_version is 2; with suite TDES it must be 1");
    *out_version = version == 0 ? TOK_WRAP_TMK : version;
    return ERR_OK;
}

static enum err_code check_digits(const char *text, const char *field, size_t least, size_t most,
                                  struct err *e)
{
    const size_t len = strlen(text);
    if (len == 0)
        return err_set(e, ERR_INPUT, "%s is missing", field);
    if (len < least || len > most)
        return err_set(e, ERR_INPUT, "%s has %zu characters; it must have %zu to %zu digits", field, len,
                       least, most);
    if (!digits_only(text, len))
        return err_set(e, ERR_INPUT, "%s has a character that is no digit", field);
    return ERR_OK;
}

enum err_code convert_psam_number(const char *psam_number, struct err *e)
{
    return check_digits(psam_number, "psam_number", PSAM_LEAST, TOK_PSAM_DIGITS, e);
}

enum err_code convert_pan(const char *pan, struct err *e)
{
    return check_digits(pan, "pan", PAN_LEAST, PAN_MOST, e);
}

static enum err_code convert_zone(const Posward__Hsm__V1__ZoneKey *zone, struct tok_key_ref *out_ref,
                                  struct err *e)
{
    const size_t len = strlen(zone->zone);
    if (len == 0)
        return err_set(e, ERR_INPUT, "zone.zone is missing");
    if (len >= TOK_ZONE_BYTES || strspn(zone->zone, ZONE_CHARACTERS) != len)
        return err_set(e, ERR_INPUT, "zone.zone must be 1 to %d characters a-z 0-9 -", TOK_ZONE_BYTES - 1);
    TRY(convert_version(zone->version, "zone.version", true, e));
    TRY(check_enum((int)zone->suite, COUNT(suites), true, "zone.suite", e));
    const enum tok_suite suite = suites[zone->suite];
    if (suite == TOK_AES_256)
        return err_set(e, ERR_INPUT, "zone.suite is SUITE_AES_256; zone keys are TDES or AES_128");
    *out_ref = (struct tok_key_ref){.zone = zone->zone, .zone_version = zone->version, .zone_suite = suite};
    return ERR_OK;
}

static enum err_code convert_blob(const Posward__Hsm__V1__KeyRef *ref, struct tok_key_ref *out_ref,
                                  struct err *e)
{
    const bool owned = ref->psam_number[0] != '\0';
    TRY(convert_length(ref->blob.len, "blob", 1, TOK_BLOB_BYTES, e));
    if (owned)
        TRY(convert_psam_number(ref->psam_number, e));
    *out_ref = (struct tok_key_ref){
        .blob = ref->blob.data, .blob_len = ref->blob.len, .psam_number = owned ? ref->psam_number : NULL};
    return ERR_OK;
}

enum err_code convert_key_ref(const Posward__Hsm__V1__KeyRef *ref, const char *field,
                              struct tok_key_ref *out_ref, struct err *e)
{
    if (ref == NULL)
        return err_set(e, ERR_INPUT, "%s is missing", field);
    enum err_code code = ERR_INPUT;
    if (ref->key_case == POSWARD__HSM__V1__KEY_REF__KEY_BLOB)
        code = convert_blob(ref, out_ref, e);
    else if (ref->key_case == POSWARD__HSM__V1__KEY_REF__KEY_ZONE && ref->zone != NULL)
        code = ref->psam_number[0] == '\0'
                   ? convert_zone(ref->zone, out_ref, e)
                   : err_set(e, ERR_INPUT, "psam_number is given, but a zone's key has no card");
    else
        return err_set(e, ERR_INPUT, "%s names neither a blob nor a zone", field);
    return code == ERR_OK ? ERR_OK : err_context(e, "%s", field);
}

Posward__Types__V1__Grade convert_grade(enum tok_grade grade)
{
    return grade == TOK_IN_TOKEN ? POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN
                                 : POSWARD__TYPES__V1__GRADE__GRADE_PROCESS_MEMORY;
}

Posward__Types__V1__Grade convert_weaker(Posward__Types__V1__Grade a, Posward__Types__V1__Grade b)
{
    return a > b ? a : b; /* the .proto numbers them by what they promise */
}

Posward__Types__V1__KeyUsage convert_usage_back(enum tok_usage usage)
{
    for (size_t i = 1; i < COUNT(usages); i++)
        if (usages[i] == usage)
            return (Posward__Types__V1__KeyUsage)i;
    return POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_UNSPECIFIED;
}

static enum err_code read_key_name(const Posward__Hsm__V1__KeyName *key, struct tok_key_name *name,
                                   struct err *e)
{
    TRY(tok_role_parse(key->role, &name->role, e));
    TRY(tok_suite_parse(key->suite, &name->suite, e));
    if (strlen(key->zone) >= sizeof name->zone)
        return err_set(e, ERR_INPUT, "a zone's name is 1 to %zu of a-z 0-9 -", sizeof name->zone - 1);
    memcpy(name->zone, key->zone, strlen(key->zone) + 1);
    TRY(convert_version(key->version, "version", true, e));
    name->version = key->version != 0 ? key->version : 1;
    TRY(tok_key_check_name(name, e));
    name->version = key->version;
    return ERR_OK;
}

enum err_code convert_key_name(const Posward__Hsm__V1__KeyName *key, const char *field,
                               struct tok_key_name *out_name, struct err *e)
{
    struct tok_key_name name = {0};
    if (key == NULL)
        return err_set(e, ERR_INPUT, "%s is missing: which key?", field);
    if (read_key_name(key, &name, e) != ERR_OK)
        return err_context(e, "%s", field);
    *out_name = name;
    return ERR_OK;
}

Posward__Hsm__V1__KeyState convert_state_back(enum tok_key_state state)
{
    switch (state) {
    case TOK_KEY_PRE_ACTIVE:
        return POSWARD__HSM__V1__KEY_STATE__KEY_STATE_PRE_ACTIVE;
    case TOK_KEY_ACTIVE:
        return POSWARD__HSM__V1__KEY_STATE__KEY_STATE_ACTIVE;
    case TOK_KEY_DEACTIVATED:
        return POSWARD__HSM__V1__KEY_STATE__KEY_STATE_DEACTIVATED;
    }
    return POSWARD__HSM__V1__KEY_STATE__KEY_STATE_UNSPECIFIED;
}
