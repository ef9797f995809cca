/* posward audit verify, posward audit show: offline, from the files. */
#include "hsm-service/audit_cli.h"

#include "base/clock.h"
#include "base/hex.h"
#include "hsm-service/audit/verify.h"
#include "run/cli_progress.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATHS_MOST 4096
#define MIB        1048576

struct audit_options {
    char *paths[PATHS_MOST];
    size_t path_count;
    const char *public_key, *expect_hash, *who, *what, *key, *result, *since, *until, *trace;
    enum audit_kind kind;
    uint64_t expect_seq, unsigned_most;
    bool limit_unsigned, partial, help, json, heading;
    struct cli_progress bar;
};

static void print_verify_help(void)
{
    puts("Usage: posward audit verify --log DIR|FILE ... --public-key FILE [--expect-seq N [--expect-hash "
         "H]]\n\n"
         "Verify an audit log from its files alone: that no record was changed, dropped, repeated or moved, "
         "and\n"
         "that the token signed its checkpoints. Exit status 1 and the first record that is wrong "
         "otherwise.\n\n"
         "  --log PATH          a folder of log files, or a file; several times, oldest first\n"
         "  --public-key FILE   PEM, as the service wrote it at its first start (keep your own copy of it)\n"
         "  --expect-seq N      the log must reach record N: what an earlier verification ended with\n"
         "  --expect-hash H     and N must have this hash\n"
         "  --unsigned-most N   fail when more than N records stand after the last one that is signed\n"
         "  --partial           the first files may be elsewhere\n"
         "  --json              print the summary as JSON\n\n"
         "Records after the last signed one are chained, not signed: who can write the files could have cut "
         "or\n"
         "replaced them. --expect-seq and --expect-hash, kept elsewhere, close that gap.");
}

static void print_show_help(void)
{
    puts(
        "Usage: posward audit show --log DIR|FILE ... [--kind KIND] [--who TEXT] [--what TEXT] [--key TEXT]\n"
        "         [--result TEXT] [--trace ID] [--since TIME] [--until TIME] [--public-key FILE]\n\n"
        "Print the records of an audit log whose fields contain the texts given. The chain is verified on "
        "the "
        "way.\n\n"
        "  --log PATH          a folder of log files, or a file; several times, oldest first\n"
        "  --public-key FILE   PEM: verify the token's signatures too\n"
        "  --kind KIND         service, login, key, refusal, use, ceremony, checkpoint, torn or lost\n"
        "  --who TEXT          the caller's identity, or the user of a ceremony\n"
        "  --what TEXT         the method or event\n"
        "  --key TEXT          a key's label and version\n"
        "  --result TEXT       OK, or the class of the failure\n"
        "  --trace ID          32 hexadecimal digits, as in the services' logs\n"
        "  --since TIME        from then on: 2026-11-23T21:45 or a part of it, UTC\n"
        "  --until TIME        up to then\n"
        "  --json              one JSON object a line");
}

static enum err_code read_count(const char *text, const char *name, uint64_t *out_count, struct err *e)
{
    if (text[0] == '\0' || strlen(text) > 18 || !digits_only(text, strlen(text)))
        return err_set(e, ERR_INPUT, "%s is '%.20s'; it must be a number", name, text);
    *out_count = strtoull(text, NULL, 10);
    return ERR_OK;
}

static enum err_code add_path(struct audit_options *o, char *path, struct err *e)
{
    if (o->path_count == PATHS_MOST)
        return err_set(e, ERR_LIMIT, "at most %d paths; name the folder", PATHS_MOST);
    o->paths[o->path_count++] = path;
    return ERR_OK;
}

static enum err_code take_option(struct audit_options *o, int option, struct err *e)
{
    const struct {
        int option;
        const char **field;
    } texts[] = {{'p', &o->public_key}, {'H', &o->expect_hash}, {'w', &o->who},
                 {'m', &o->what},       {'k', &o->key},         {'r', &o->result},
                 {'f', &o->since},      {'t', &o->until},       {'i', &o->trace}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].option == option) {
            *texts[i].field = optarg;
            return ERR_OK;
        }
    switch (option) {
    case 'l':
        return add_path(o, optarg, e);
    case 's':
        return read_count(optarg, "--expect-seq", &o->expect_seq, e);
    case 'u':
        o->limit_unsigned = true;
        return read_count(optarg, "--unsigned-most", &o->unsigned_most, e);
    case 'K':
        return audit_kind_parse(optarg, &o->kind, e);
    case 'P':
        o->partial = true;
        return ERR_OK;
    case 'h':
        o->help = true;
        return ERR_OK;
    default:
        return err_set(e, ERR_INPUT, "see posward audit verify --help and posward audit show --help");
    }
}

static enum err_code read_options(int argc, char **argv, struct audit_options *o, struct err *e)
{
    static const struct option known[] = {{"log", required_argument, NULL, 'l'},
                                          {"public-key", required_argument, NULL, 'p'},
                                          {"expect-seq", required_argument, NULL, 's'},
                                          {"expect-hash", required_argument, NULL, 'H'},
                                          {"unsigned-most", required_argument, NULL, 'u'},
                                          {"partial", no_argument, NULL, 'P'},
                                          {"kind", required_argument, NULL, 'K'},
                                          {"who", required_argument, NULL, 'w'},
                                          {"what", required_argument, NULL, 'm'},
                                          {"key", required_argument, NULL, 'k'},
                                          {"result", required_argument, NULL, 'r'},
                                          {"trace", required_argument, NULL, 'i'},
                                          {"since", required_argument, NULL, 'f'},
                                          {"until", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    optind = 1;
    for (int option; (option = getopt_long(argc + 1, argv - 1, "h", known, NULL)) != -1;)
        TRY(take_option(o, option, e));
    for (; optind < argc + 1; optind++)
        TRY(add_path(o, argv[optind - 1], e));
    if (!o->help && o->path_count == 0)
        return err_set(e, ERR_INPUT, "--log is missing: the folder of the audit log");
    if (o->expect_hash != NULL && o->expect_seq == 0)
        return err_set(e, ERR_INPUT, "--expect-hash needs --expect-seq: of which record");
    return ERR_OK;
}

static void show_progress(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    struct audit_options *const o = context;
    if (o->bar.what == NULL)
        cli_progress_start(&o->bar, "verifying", "MiB", MIB, all_bytes);
    cli_progress_step(&o->bar, done_bytes);
}

/* ---- verify ---- */

static void print_summary(const struct audit_summary *s, bool json, bool with_key)
{
    char hash[2 * AUDIT_HASH_BYTES + 1], from[CLOCK_TEXT_BYTES], to[CLOCK_TEXT_BYTES];
    const uint64_t tail = s->signed_seq > 0 ? s->head.seq - s->signed_seq : s->records;
    audit_hex(s->head.hash, sizeof s->head.hash, hash);
    clock_text(s->first_ms, from);
    clock_text(s->last_ms, to);
    if (json) {
        printf("{\"sound\":true,\"records\":%" PRIu64 ",\"firstSeq\":%" PRIu64 ",\"lastSeq\":%" PRIu64
               ",\"lastHash\":\"%s\",\"from\":\"%s\",\"to\":\"%s\",\"files\":%" PRIu64
               ",\"checkpoints\":%" PRIu64 ",\"signaturesChecked\":%s,\"signedSeq\":%" PRIu64
               ",\"unsigned\":%" PRIu64 ",\"torn\":%" PRIu64 ",\"lost\":%" PRIu64 "}\n",
               s->records, s->first_seq, s->head.seq, hash, from, to, s->files, s->checkpoints,
               with_key ? "true" : "false", s->signed_seq, tail, s->torn, s->lost);
        return;
    }
    printf("sound: %" PRIu64 " records, %" PRIu64 " to %" PRIu64 ", in %" PRIu64 " files, %s to %s\n",
           s->records, s->first_seq, s->head.seq, s->files, from, to);
    printf("%" PRIu64 " checkpoints %s; signed up to record %" PRIu64 ", %" PRIu64 " records after it\n",
           s->checkpoints,
           with_key ? "carry the token's signature" : "(signatures not checked: no --public-key)",
           s->signed_seq, tail);
    if (s->torn + s->lost > 0)
        printf("%" PRIu64 " lines were cut by a kill, %" PRIu64
               " times records had no room; the log says so itself\n",
               s->torn, s->lost);
    printf("last: --expect-seq %" PRIu64 " --expect-hash %s\n", s->head.seq, hash);
}

static enum err_code run_verify(struct audit_options *o, struct audit_verify_options *v,
                                struct audit_summary *out_s, struct err *e)
{
    struct audit_key key;
    uint8_t hash[AUDIT_HASH_BYTES];
    v->paths = o->paths;
    v->path_count = o->path_count;
    v->expect_seq = o->expect_seq;
    v->partial = o->partial;
    if (o->public_key != NULL) {
        TRY(audit_key_read(o->public_key, &key, e));
        v->key = &key;
    }
    if (o->expect_hash != NULL) {
        if (strlen(o->expect_hash) != 2 * AUDIT_HASH_BYTES ||
            audit_unhex(o->expect_hash, AUDIT_HASH_BYTES, hash, e) != ERR_OK)
            return err_set(e, ERR_INPUT, "--expect-hash must have 64 characters of lower-case hexadecimal");
        v->expect_hash = hash;
    }
    v->context = o;
    const enum err_code code = audit_verify(v, out_s, e);
    cli_progress_done(&o->bar);
    v->key = NULL;
    v->expect_hash = NULL;
    return code;
}

enum err_code audit_cli_verify(struct cli *cli, int argc, char **argv, struct err *e)
{
    struct audit_options o = {0};
    struct audit_verify_options v = {.progress = show_progress};
    struct audit_summary s = {0};
    TRY(read_options(argc, argv, &o, e));
    if (o.help) {
        print_verify_help();
        return ERR_OK;
    }
    if (o.public_key == NULL)
        return err_set(e, ERR_INPUT,
                       "--public-key is missing: the PEM file that the service wrote beside its log");
    TRY(run_verify(&o, &v, &s, e));
    const uint64_t tail = s.signed_seq > 0 ? s.head.seq - s.signed_seq : s.records;
    if (o.limit_unsigned && tail > o.unsigned_most)
        return err_set(e, ERR_CHECK, "%" PRIu64 " records after record %" PRIu64 " are not signed", tail,
                       s.signed_seq);
    print_summary(&s, cli_json(cli), true);
    return ERR_OK;
}

/* ---- show ---- */

static bool contains(const char *text, const char *part)
{
    return part == NULL || strstr(text, part) != NULL;
}

static bool is_meant(const struct audit_options *o, const struct audit_record *r, const char *time_text)
{
    return (o->kind == 0 || o->kind == r->kind) && contains(r->who, o->who) && contains(r->what, o->what) &&
           contains(r->key, o->key) && contains(r->result, o->result) && contains(r->trace, o->trace) &&
           (o->since == NULL || strcmp(time_text, o->since) >= 0) &&
           (o->until == NULL || strncmp(time_text, o->until, strlen(o->until)) <= 0);
}

static enum err_code show_record(void *context, const struct audit_record *r, struct err *e)
{
    struct audit_options *const o = context;
    char time_text[CLOCK_TEXT_BYTES];
    (void)e;
    clock_text(r->time_ms, time_text);
    if (!is_meant(o, r, time_text))
        return ERR_OK;
    if (o->json) {
        struct audit_head before = {.seq = r->seq - 1};
        char line[AUDIT_LINE_BYTES];
        size_t len = 0;
        memcpy(before.hash, r->prev, sizeof before.hash);
        audit_record_format(r, &before, line, &len);
        fwrite(line, 1, len, stdout);
        return ERR_OK;
    }
    if (!o->heading)
        printf("%8s  %-24s  %-10s  %-16s  %-32s  %-32s  %-14s  %-12s  %s\n", "SEQ", "TIME", "KIND", "WHO",
               "WHAT", "KEY", "GRADE", "RESULT", "NOTE");
    o->heading = true;
    printf("%8" PRIu64 "  %-24s  %-10s  %-16s  %-32s  %-32s  %-14s  %-12s  %.100s\n", r->seq, time_text,
           audit_kind_name(r->kind), r->who, r->what, r->key, r->grade, r->result, r->note);
    return ERR_OK;
}

enum err_code audit_cli_show(struct cli *cli, int argc, char **argv, struct err *e)
{
    struct audit_options o = {.partial = true, .json = cli_json(cli)};
    /* A bar between records on one terminal would be in their way. */
    struct audit_verify_options v = {.each = show_record,
                                     .progress = isatty(STDOUT_FILENO) ? NULL : show_progress};
    struct audit_summary s;
    TRY(read_options(argc, argv, &o, e));
    if (o.help) {
        print_show_help();
        return ERR_OK;
    }
    return run_verify(&o, &v, &s, e);
}
