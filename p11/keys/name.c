#include "p11/keys/keys.h"

#include "base/hex.h"
#include "base/terms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "posward/"

static const struct {
    const char *name;
    bool has_zone;
} roles[TOK_ROLE_COUNT] = {
    [TOK_PSAM_MASTER] = {"psam-master", false}, [TOK_CARD_CONTROL] = {"card-control", false},
    [TOK_STORAGE] = {"storage", false},         [TOK_BLOB_TAG] = {"blob-tag", false},
    [TOK_ZONE_PIN] = {"zone-pin", true},        [TOK_ZONE_MAC] = {"zone-mac", true},
    [TOK_ZONE_DATA] = {"zone-data", true},      [TOK_AUDIT] = {"audit", false},
    [TOK_ZONE_MASTER] = {"zone-master", true},  [TOK_TRANSPORT] = {"transport", false},
    [TOK_COMPONENT] = {"component", false},
};

static const char *const suites[] = {[TOK_TDES] = "tdes",
                                     [TOK_AES_128] = "aes-128",
                                     [TOK_AES_256] = "aes-256",
                                     [TOK_EC_P256] = "ec-p256",
                                     [TOK_RSA_3072] = "rsa-3072"};

/* Suites that a role's keys may have: bit n for suite n. */
static const unsigned suites_of_role[TOK_ROLE_COUNT] = {
    [TOK_PSAM_MASTER] = 1U << TOK_TDES | 1U << TOK_AES_256,
    [TOK_CARD_CONTROL] = 1U << TOK_TDES | 1U << TOK_AES_256,
    [TOK_STORAGE] = 1U << TOK_AES_256,
    [TOK_BLOB_TAG] = 1U << TOK_AES_256,
    [TOK_ZONE_PIN] = 1U << TOK_TDES | 1U << TOK_AES_128,
    [TOK_ZONE_MAC] = 1U << TOK_TDES | 1U << TOK_AES_128,
    [TOK_ZONE_DATA] = 1U << TOK_TDES | 1U << TOK_AES_128,
    [TOK_AUDIT] = 1U << TOK_EC_P256,
    [TOK_ZONE_MASTER] = 1U << TOK_TDES | 1U << TOK_AES_128 | 1U << TOK_AES_256,
    [TOK_TRANSPORT] = 1U << TOK_RSA_3072,
    [TOK_COMPONENT] = 1U << TOK_RSA_3072,
};

bool tok_role_is_pair(enum tok_role role)
{
    return role == TOK_AUDIT || role == TOK_TRANSPORT || role == TOK_COMPONENT;
}

const char *tok_role_name(enum tok_role role)
{
    return role > 0 && role < TOK_ROLE_COUNT ? roles[role].name : "unknown";
}

const char *tok_suite_name(enum tok_suite suite)
{
    return suite >= TOK_TDES && suite <= TOK_RSA_3072 ? suites[suite] : "unknown";
}

size_t tok_key_bytes(enum tok_role role, enum tok_suite suite)
{
    (void)role;
    return suite == TOK_AES_256 ? 32 : 16;
}

void tok_key_label(const struct tok_key_name *name, char out_label[TOK_LABEL_BYTES])
{
    const bool zone = name->zone[0] != '\0';
    snprintf(out_label, TOK_LABEL_BYTES, PREFIX "%s/%s%s%s/%u", tok_role_name(name->role),
             zone ? name->zone : "", zone ? "/" : "", tok_suite_name(name->suite), name->version);
}

static bool zone_is_sound(const char *zone)
{
    const size_t len = strnlen(zone, TOK_ZONE_BYTES);
    return len > 0 && len < TOK_ZONE_BYTES && strspn(zone, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

enum err_code tok_key_check_name(const struct tok_key_name *name, struct err *e)
{
    if (name->role <= 0 || name->role >= TOK_ROLE_COUNT)
        return err_set(e, ERR_INPUT, "key role %d does not exist", (int)name->role);
    if (name->suite < TOK_TDES || name->suite > TOK_RSA_3072 ||
        (suites_of_role[name->role] >> name->suite & 1) == 0)
        return err_set(e, ERR_INPUT, "a %s key cannot be of suite %s", tok_role_name(name->role),
                       tok_suite_name(name->suite));
    if (name->version < 1 || name->version > KEY_VERSION_MAX)
        return err_set(e, ERR_INPUT, "key version %u is not within 1 to %d", name->version, KEY_VERSION_MAX);
    if (roles[name->role].has_zone && !zone_is_sound(name->zone))
        return err_set(e, ERR_INPUT, "a zone's name is 1 to %d of a-z 0-9 -", TOK_ZONE_BYTES - 1);
    if (!roles[name->role].has_zone && name->zone[0] != '\0')
        return err_set(e, ERR_INPUT, "a %s key has no zone", tok_role_name(name->role));
    return ERR_OK;
}

/* Take the text up to the next slash. False when there is none or it does not fit. */
static bool next_part(const char **at, char *out_part, size_t capacity)
{
    const size_t len = strcspn(*at, "/");
    if ((*at)[len] != '/' || len == 0 || len >= capacity)
        return false;
    memcpy(out_part, *at, len);
    out_part[len] = '\0';
    *at += len + 1;
    return true;
}

static enum tok_role role_by_name(const char *name)
{
    for (int role = 1; role < TOK_ROLE_COUNT; role++) {
        if (strcmp(roles[role].name, name) == 0)
            return (enum tok_role)role;
    }
    return TOK_ROLE_COUNT;
}

static enum tok_suite suite_by_name(const char *name)
{
    for (int suite = TOK_TDES; suite <= TOK_RSA_3072; suite++) {
        if (strcmp(suites[suite], name) == 0)
            return (enum tok_suite)suite;
    }
    return (enum tok_suite)0;
}

enum err_code tok_role_parse(const char *text, enum tok_role *out_role, struct err *e)
{
    const enum tok_role role = role_by_name(text);
    if (role == TOK_ROLE_COUNT)
        return err_set(e, ERR_INPUT,
                       "'%.20s' is no role; there are psam-master, card-control, storage, blob-tag, "
                       "zone-pin, zone-mac, zone-data, zone-master, transport, component and audit",
                       text);
    *out_role = role;
    return ERR_OK;
}

enum err_code tok_suite_parse(const char *text, enum tok_suite *out_suite, struct err *e)
{
    const enum tok_suite suite = suite_by_name(text);
    if (suite == 0)
        return err_set(e, ERR_INPUT,
                       "'%.20s' is no suite; there are tdes, aes-128, aes-256, ec-p256 and rsa-3072", text);
    *out_suite = suite;
    return ERR_OK;
}

static bool version_parse(const char *text, unsigned *out_version)
{
    const size_t len = strlen(text);
    if (len < 1 || len > 3 || !digits_only(text, len) || text[0] == '0')
        return false;
    *out_version = (unsigned)strtoul(text, NULL, 10);
    return true;
}

enum err_code tok_key_parse(const char *label, struct tok_key_name *out_name, struct err *e)
{
    struct tok_key_name name = {0};
    char part[TOK_ZONE_BYTES];
    if (strncmp(label, PREFIX, sizeof PREFIX - 1) != 0)
        return err_set(e, ERR_INPUT, "a key's label starts with " PREFIX);
    const char *at = label + sizeof PREFIX - 1;
    if (!next_part(&at, part, sizeof part) || (name.role = role_by_name(part)) == TOK_ROLE_COUNT)
        return err_set(e, ERR_INPUT, "\"%.80s\" names no key role; such as psam-master, zone-pin", label);
    if (roles[name.role].has_zone && !next_part(&at, name.zone, sizeof name.zone))
        return err_set(e, ERR_INPUT, "\"%.80s\" names no zone after its role", label);
    if (!next_part(&at, part, sizeof part) || (name.suite = suite_by_name(part)) == 0)
        return err_set(e, ERR_INPUT, "\"%.80s\" names no suite, such as tdes or aes-128", label);
    if (!version_parse(at, &name.version))
        return err_set(e, ERR_INPUT, "\"%.80s\" does not end with a version, 1 to %d", label,
                       KEY_VERSION_MAX);
    TRY(tok_key_check_name(&name, e));
    *out_name = name;
    return ERR_OK;
}
