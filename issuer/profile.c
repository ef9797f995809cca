#include "issuer/profile.h"

#include "base/conf.h"
#include "base/hex.h"
#include "issuer/suites.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_CHARS_MOST 512
#define SUITES_MOST     3

/* A file as it is written. */
struct profile_file {
    char *name, *write_key, *command;
    struct conf_items suites; /* char * each */
    int64_t challenge_bytes, answer_bytes, version_at, algorithm_at, kcv_at, kcv_bytes;
};

#define ROW(key_name, kind, member, ...)                                                                     \
    {                                                                                                        \
        .key = (key_name), .type = (kind), .offset = offsetof(struct profile_file, member),                  \
        .required = true, __VA_ARGS__                                                                        \
    }

static const struct conf_row suite_rows[] = {{.key = "", .type = CONF_STRING, .required = true}, CONF_END};
static const struct conf_list suite_list = {.rows = suite_rows, .item_bytes = sizeof(char *)};

static const struct conf_row rows[] = {
    ROW("name", CONF_STRING, name, .help = "Name of the profile; the file's without .yaml."),
    ROW("write_key", CONF_STRING, write_key, .help = "How WRITE KEY is built: aes or pboc."),
    ROW("challenge_bytes", CONF_INT, challenge_bytes, .least = 4, .most = 8,
        .help = "Bytes of the card's challenge: 4 or 8."),
    ROW("suites", CONF_LIST, suites, .most = SUITES_MOST, .list = &suite_list,
        .help = "Suites that fit: tdes, aes-128, aes-256."),
    ROW("verify.command", CONF_STRING, command, .help = "Command that tells of the TMK, in hex, without Le."),
    ROW("verify.answer_bytes", CONF_INT, answer_bytes, .least = 1, .most = 255,
        .help = "Bytes of its answer."),
    ROW("verify.version_at", CONF_INT, version_at, .least = 0, .most = 254,
        .help = "Where the key version stands in it."),
    {.key = "verify.algorithm_at",
     .type = CONF_INT,
     .offset = offsetof(struct profile_file, algorithm_at),
     .fallback = "-1",
     .least = -1,
     .most = 254,
     .help = "Where the algorithm byte, which has the wrap version, stands in it; -1: the answer has none."},
    ROW("verify.kcv_at", CONF_INT, kcv_at, .least = 0, .most = 254, .help = "Where the KCV stands in it."),
    ROW("verify.kcv_bytes", CONF_INT, kcv_bytes, .least = 3, .most = 4, .help = "Bytes of the KCV."),
    CONF_END,
};

static enum err_code read_suites(const struct profile_file *file, unsigned *out_suites, struct err *e)
{
    char *const *names = file->suites.items;
    unsigned suites = 0;
    for (size_t i = 0; i < file->suites.count; i++) {
        Posward__Types__V1__Suite suite;
        TRY(suite_parse("suites", names[i], &suite, e));
        suites |= 1u << suite;
    }
    if (suites == 0)
        return err_set(e, ERR_INPUT, "suites is empty: name at least one of tdes, aes-128, aes-256");
    *out_suites = suites;
    return ERR_OK;
}

static enum err_code read_command(const struct profile_file *file, struct apdu_command *out_command,
                                  struct err *e)
{
    uint8_t bytes[APDU_COMMAND_MAX];
    const size_t len = strlen(file->command);
    if (len > 2 * sizeof bytes)
        return err_set(e, ERR_INPUT, "verify.command is longer than an APDU");
    if (hex_decode(file->command, len, bytes, e) != ERR_OK ||
        apdu_command_parse(bytes, len / 2, out_command, e) != ERR_OK)
        return err_context(e, "verify.command");
    out_command->has_le = true;
    out_command->le = (uint16_t)file->answer_bytes;
    return ERR_OK;
}

static enum err_code read_profile(const struct profile_file *file, struct card_profile *out_profile,
                                  struct err *e)
{
    struct card_profile p = {.challenge_bytes = (uint8_t)file->challenge_bytes,
                             .answer_bytes = (size_t)file->answer_bytes,
                             .version_at = (size_t)file->version_at,
                             .algorithm_at = (int)file->algorithm_at,
                             .kcv_at = (size_t)file->kcv_at,
                             .kcv_bytes = (size_t)file->kcv_bytes};
    if (strlen(file->name) > PROFILE_NAME_MOST)
        return err_set(e, ERR_INPUT, "name is longer than %d characters", PROFILE_NAME_MOST);
    snprintf(p.name, sizeof p.name, "%s", file->name);
    if (p.challenge_bytes != 4 && p.challenge_bytes != 8)
        return err_set(e, ERR_INPUT, "challenge_bytes must be 4 or 8, got %d", p.challenge_bytes);
    if (file->algorithm_at >= file->answer_bytes)
        return err_set(e, ERR_INPUT, "verify: algorithm_at lies outside the answer of %zu bytes",
                       p.answer_bytes);
    if (p.version_at >= p.answer_bytes || p.kcv_at + p.kcv_bytes > p.answer_bytes)
        return err_set(e, ERR_INPUT, "verify: version or KCV lies outside the answer of %zu bytes",
                       p.answer_bytes);
    TRY(write_key_parse("write_key", file->write_key, &p.write_key, e));
    TRY(read_suites(file, &p.suites, e));
    TRY(read_command(file, &p.verify, e));
    *out_profile = p;
    return ERR_OK;
}

enum err_code card_profile_parse(const char *name, const char *text, size_t len,
                                 struct card_profile *out_profile, struct err *e)
{
    struct profile_file file = {0};
    TRY(conf_parse(name, text, len, rows, &file, e));
    enum err_code code = read_profile(&file, out_profile, e);
    conf_drop(rows, &file);
    if (code != ERR_OK)
        code = err_context(e, "%s", name);
    return code;
}

static enum err_code load_file(const char *path, const char *name, struct card_profile *out_profile,
                               struct err *e)
{
    struct profile_file file = {0};
    struct card_profile profile = {0};
    TRY(conf_load(path, rows, &file, e));
    enum err_code code = read_profile(&file, &profile, e);
    conf_drop(rows, &file);
    if (code != ERR_OK)
        return err_context(e, "%s", path);
    if (strcmp(profile.name, name) != 0)
        return err_set(e, ERR_INPUT, "%s: its name is '%s'", path, profile.name);
    *out_profile = profile;
    return ERR_OK;
}

/* A name becomes part of a path. */
static enum err_code check_name(const char *name, struct err *e)
{
    const size_t len = strlen(name);
    if (len == 0 || len > PROFILE_NAME_MOST || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return err_set(e, ERR_INPUT, "a card profile's name is 1 to %d characters a-z 0-9 -, got '%.40s'",
                       PROFILE_NAME_MOST, name);
    return ERR_OK;
}

enum err_code card_profile_load(const char *folder, const char *name, struct card_profile *out_profile,
                                struct err *e)
{
    static const char *const folders[] = {"/etc/posward/cards", POSWARD_CARDS_INSTALLED,
                                          POSWARD_CARDS_SOURCE};
    char path[PATH_CHARS_MOST];
    TRY(check_name(name, e));
    if (folder != NULL) {
        snprintf(path, sizeof path, "%s/%s.yaml", folder, name);
        return load_file(path, name, out_profile, e);
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, sizeof path, "%s/%s.yaml", folders[i], name);
        if (access(path, F_OK) == 0)
            return load_file(path, name, out_profile, e);
    }
    return err_set(e, ERR_NOT_FOUND,
                   "no card profile %s.yaml in %s or %s: name its folder with --profiles-dir", name,
                   folders[0], folders[1]);
}

enum err_code card_profile_check_suite(const struct card_profile *profile, Posward__Types__V1__Suite suite,
                                       struct err *e)
{
    if ((profile->suites & (1u << suite)) == 0)
        return err_set(e, ERR_INPUT, "card profile %s does not take suite %s", profile->name,
                       suite_name(suite));
    return ERR_OK;
}
