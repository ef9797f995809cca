#include "hsm-service/key_propose.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hex.h"
#include "posward/hsm/v1/keys.pb-c.h"
#include "rpc/client.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRAPPED_BYTES 4096 /* of a file with a wrapped key or a key block */
#define OPTIONS_MOST  24
#define APPROVE_MS    120000 /* an execution waits until keepers are replaced */

typedef Posward__Hsm__V1__Proposal Proposal;

/* ---- Options, one table for all of these commands ---- */

struct words {
    const char *role, *suite, *zone, *version, *reason, *kcv, *components, *format, *wrapped, *key_block,
        *under_suite, *under_version, *export_format, *exposure, *approvals, *expires, *terminal_minute,
        *terminal_hour, *account_minute, *account_hour, *id;
    bool pre_active, break_use, all, help;
};

static const struct word_row {
    const char *name;
    bool has_value;
    size_t field; /* offset of a const char *, or of a bool where the option has no value */
} word_rows[] = {
    {"role", true, offsetof(struct words, role)},
    {"suite", true, offsetof(struct words, suite)},
    {"zone", true, offsetof(struct words, zone)},
    {"version", true, offsetof(struct words, version)},
    {"reason", true, offsetof(struct words, reason)},
    {"kcv", true, offsetof(struct words, kcv)},
    {"components", true, offsetof(struct words, components)},
    {"format", true, offsetof(struct words, format)},
    {"wrapped", true, offsetof(struct words, wrapped)},
    {"key-block", true, offsetof(struct words, key_block)},
    {"under-suite", true, offsetof(struct words, under_suite)},
    {"under-version", true, offsetof(struct words, under_version)},
    {"export-format", true, offsetof(struct words, export_format)},
    {"exposure", true, offsetof(struct words, exposure)},
    {"approvals", true, offsetof(struct words, approvals)},
    {"expires", true, offsetof(struct words, expires)},
    {"pin-terminal-per-minute", true, offsetof(struct words, terminal_minute)},
    {"pin-terminal-per-hour", true, offsetof(struct words, terminal_hour)},
    {"pin-account-per-minute", true, offsetof(struct words, account_minute)},
    {"pin-account-per-hour", true, offsetof(struct words, account_hour)},
    {"id", true, offsetof(struct words, id)},
    {"pre-active", false, offsetof(struct words, pre_active)},
    {"break-use", false, offsetof(struct words, break_use)},
    {"all", false, offsetof(struct words, all)},
};
#define ROW_COUNT (sizeof word_rows / sizeof word_rows[0])

#define ROLES                                                                                                \
    "psam-master|card-control|storage|blob-tag|zone-pin|zone-mac|zone-data|zone-master|transport|component|" \
    "audit"
#define FORMATS "rsa-oaep|aes-key-wrap|tdes-ecb|tr31-b|tr31-d"

/* Which of them a command takes. */
#define KEY_NAME                                                                                             \
    {"role", ROLES, "What the key is for."},                                                                 \
        {"suite", "tdes|aes-128|aes-256|rsa-3072|ec-p256", "Its algorithm and length."},                     \
    {                                                                                                        \
        "zone", "NAME", "Whose, for zone keys."                                                              \
    }
#define KEY_VERSION                                                                                          \
    {                                                                                                        \
        "version", "NUMBER", "1 to 255."                                                                     \
    }
#define NEW_VERSION                                                                                          \
    {                                                                                                        \
        "version", "NUMBER", "1 to 255; left out: the next one."                                             \
    }
#define REASON                                                                                               \
    {                                                                                                        \
        "reason", "TEXT", "For the approvers and the audit log."                                             \
    }
#define PRE_ACTIVE                                                                                           \
    {                                                                                                        \
        "pre-active", NULL, "Not to be used before it is activated."                                         \
    }
#define BREAK_USE                                                                                            \
    {                                                                                                        \
        "break-use", NULL, "Although something depends on it; the approvers see what."                       \
    }
#define UNDER                                                                                                \
    {"under-suite", "tdes|aes-128|aes-256|rsa-3072", "Suite of the key that wraps it."},                     \
    {                                                                                                        \
        "under-version", "NUMBER", "Its version; left out: the newest."                                      \
    }

const struct cli_option key_create_options[] = {
    KEY_NAME,
    NEW_VERSION,
    REASON,
    PRE_ACTIVE,
    {"export-format", FORMATS,
     "Hand a new zone key out, under the zone's master key; only now, never later."},
    UNDER,
    {0}};
const struct cli_option key_rotate_options[] = {KEY_NAME, REASON, PRE_ACTIVE, {0}};
const struct cli_option key_import_options[] = {
    KEY_NAME,
    NEW_VERSION,
    REASON,
    PRE_ACTIVE,
    {"kcv", "HEX", "The check value that it must have, 6 digits."},
    {"components", "NUMBER", "It comes in so many parts: posward key submit-component."},
    {"format", FORMATS, "Or it comes wrapped, in this form."},
    {"wrapped", "FILE", "The wrapped key, in hexadecimal."},
    {"key-block", "FILE", "The key block's characters (TR-31)."},
    UNDER,
    {0}};
const struct cli_option key_activate_options[] = {KEY_NAME, KEY_VERSION, REASON, {0}};
const struct cli_option key_deactivate_options[] = {KEY_NAME, KEY_VERSION, REASON, BREAK_USE, {0}};
const struct cli_option key_destroy_options[] = {KEY_NAME, KEY_VERSION, REASON, BREAK_USE, {0}};
const struct cli_option key_policy_options[] = {
    REASON,
    {"exposure", "any|in_token", "in_token: no way that shows a clear key or PIN to a keeper."},
    {"approvals", "NUMBER", "Operators who must agree, 2 to 8."},
    {"expires", "SECONDS", "Time after which a proposal that waits is closed."},
    {"pin-terminal-per-minute", "NUMBER", "PIN operations of a terminal."},
    {"pin-terminal-per-hour", "NUMBER", "PIN operations of a terminal."},
    {"pin-account-per-minute", "NUMBER", "PIN operations of an account."},
    {"pin-account-per-hour", "NUMBER", "PIN operations of an account."},
    {0}};
const struct cli_option key_proposals_options[] = {{"all", NULL, "Those that have ended too."}, {0}};
const struct cli_option key_approve_options[] = {{"id", "ID", "Of the proposal; may stand without --id."},
                                                 {0}};
const struct cli_option key_reject_options[] = {
    {"id", "ID", "Of the proposal; may stand without --id."}, {"reason", "TEXT", "Why."}, {0}};
const struct cli_option key_show_options[] = {KEY_NAME, KEY_VERSION, {0}};

struct command {
    const char *name, *about;
    const struct cli_option *options;
};

static void print_help(const struct command *c)
{
    printf("Usage: posward key %s [--OPTION VALUE ...]\n%s\n\n", c->name, c->about);
    for (const struct cli_option *o = c->options; o->name != NULL; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value != NULL ? " " : "",
                 o->value == NULL                ? ""
                 : strchr(o->value, '|') != NULL ? "WORD"
                                                 : o->value);
        printf("  %-32s %s\n", left, o->help != NULL ? o->help : "");
        if (o->value != NULL && strchr(o->value, '|') != NULL)
            printf("  %-32s %s\n", "", o->value);
    }
    printf("  %-32s %s\n", "--json", "print JSON");
}

static const struct word_row *row_of(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (strcmp(word_rows[i].name, name) == 0)
            return &word_rows[i];
    return NULL;
}

static void set_word(struct words *w, const struct word_row *row, const char *value)
{
    char *const field = (char *)w + row->field;
    if (row->has_value)
        *(const char **)(void *)field = value;
    else
        *(bool *)field = true;
}

static enum err_code read_words(const struct command *c, int argc, char **argv, struct words *out_words,
                                struct err *e)
{
    struct option known[OPTIONS_MOST] = {{"help", no_argument, NULL, 0}};
    size_t count = 1;
    for (const struct cli_option *o = c->options; o->name != NULL; o++)
        known[count++] =
            (struct option){o->name, o->value != NULL ? required_argument : no_argument, NULL, 0};
    struct words w = {0};
    int index = 0;
    opterr = 0;
    optind = 1;
    for (int got; (got = getopt_long(argc + 1, argv - 1, ":h", known, &index)) != -1;) {
        if (got == 'h' || (got == 0 && index == 0))
            w.help = true;
        else if (got == 0)
            set_word(&w, row_of(known[index].name), optarg);
        else
            return err_set(e, ERR_INPUT,
                           "'%.40s' is no option, or lacks its value; see posward key %s --help",
                           argv[optind - 2], c->name);
    }
    if (optind < argc + 1 && c->options[0].name != NULL && strcmp(c->options[0].name, "id") == 0 &&
        w.id == NULL)
        w.id = argv[optind++ - 1];
    if (optind < argc + 1)
        return err_set(e, ERR_INPUT, "'%.40s' is no option; see posward key %s --help", argv[optind - 1],
                       c->name);
    *out_words = w;
    return ERR_OK;
}

/* ---- To messages ---- */

static enum err_code read_number(const char *text, const char *name, uint64_t most, uint64_t *out_number,
                                 struct err *e)
{
    *out_number = 0;
    if (text == NULL)
        return ERR_OK;
    if (text[0] == '\0' || strlen(text) > 10 || !digits_only(text, strlen(text)) ||
        strtoull(text, NULL, 10) > most)
        return err_set(e, ERR_INPUT, "--%s is '%.20s'; it must be a number up to %" PRIu64, name, text, most);
    *out_number = strtoull(text, NULL, 10);
    return ERR_OK;
}

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)(text != NULL ? text : "");
}

static enum err_code fill_name(const struct words *w, Posward__Hsm__V1__KeyName *out_name, struct err *e)
{
    uint64_t version = 0;
    if (w->role == NULL || w->suite == NULL)
        return err_set(e, ERR_INPUT, "--role and --suite say which key; --zone too for a zone's");
    TRY(read_number(w->version, "version", 255, &version, e));
    posward__hsm__v1__key_name__init(out_name);
    out_name->role = text_of(w->role);
    out_name->suite = text_of(w->suite);
    out_name->zone = text_of(w->zone);
    out_name->version = (uint32_t)version;
    return ERR_OK;
}

static enum err_code read_format(const char *text, Posward__Hsm__V1__KeyFormat *out_format, struct err *e)
{
    static const char *const names[] = {"", "rsa-oaep", "aes-key-wrap", "tdes-ecb", "tr31-b", "tr31-d"};
    for (int i = 1; i < (int)(sizeof names / sizeof names[0]); i++)
        if (strcmp(names[i], text) == 0) {
            *out_format = (Posward__Hsm__V1__KeyFormat)i;
            return ERR_OK;
        }
    return err_set(e, ERR_INPUT, "'%.20s' is no format; there are " FORMATS, text);
}

/* Everything that a proposal may be made of; what is not used stays as it was initialised. */
struct request {
    Posward__Hsm__V1__ProposeRequest message;
    Posward__Hsm__V1__KeyName key, under;
    Posward__Hsm__V1__CreateKey create;
    Posward__Hsm__V1__ExportTo export_to;
    Posward__Hsm__V1__RotateKey rotate;
    Posward__Hsm__V1__ImportKey import;
    Posward__Hsm__V1__ComponentSource components;
    Posward__Hsm__V1__WrappedSource wrapped;
    Posward__Hsm__V1__ActivateKey activate;
    Posward__Hsm__V1__DeactivateKey deactivate;
    Posward__Hsm__V1__DestroyKey destroy;
    Posward__Hsm__V1__PolicyChange change;
    Posward__Hsm__V1__Policy policy;
    uint8_t kcv[3];
    uint8_t *file;
    uint8_t bytes[WRAPPED_BYTES];
};
static void request_drop(struct request *r)
{
    free(r->file);
}

static void request_init(struct request *r, const struct words *w)
{
    posward__hsm__v1__propose_request__init(&r->message);
    posward__hsm__v1__create_key__init(&r->create);
    posward__hsm__v1__export_to__init(&r->export_to);
    posward__hsm__v1__rotate_key__init(&r->rotate);
    posward__hsm__v1__import_key__init(&r->import);
    posward__hsm__v1__component_source__init(&r->components);
    posward__hsm__v1__wrapped_source__init(&r->wrapped);
    posward__hsm__v1__activate_key__init(&r->activate);
    posward__hsm__v1__deactivate_key__init(&r->deactivate);
    posward__hsm__v1__destroy_key__init(&r->destroy);
    posward__hsm__v1__policy_change__init(&r->change);
    posward__hsm__v1__policy__init(&r->policy);
    posward__hsm__v1__key_name__init(&r->under);
    r->message.reason = text_of(w->reason);
}

#define SET_ACTION(r, which, field)                                                                          \
    ((r)->message.action_case = POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_##which,                           \
     (r)->message.field = &(r)->field)

static enum err_code fill_under(const struct words *w, Posward__Hsm__V1__KeyFormat format, struct request *r,
                                struct err *e)
{
    uint64_t version = 0;
    const bool oaep = format == POSWARD__HSM__V1__KEY_FORMAT__KEY_FORMAT_RSA_OAEP;
    if (w->under_suite == NULL && !oaep)
        return err_set(e, ERR_INPUT, "--under-suite is missing: which of the zone's master keys wraps it?");
    TRY(read_number(w->under_version, "under-version", 255, &version, e));
    r->under.role = text_of(oaep ? "transport" : "zone-master");
    r->under.suite = text_of(oaep ? "rsa-3072" : w->under_suite);
    r->under.zone = text_of(oaep ? "" : w->zone);
    r->under.version = (uint32_t)version;
    return ERR_OK;
}

static enum err_code fill_create(const struct words *w, struct request *r, struct err *e)
{
    SET_ACTION(r, CREATE, create);
    TRY(fill_name(w, &r->key, e));
    r->create.key = &r->key;
    r->create.pre_active = w->pre_active;
    if (w->export_format == NULL)
        return ERR_OK;
    TRY(read_format(w->export_format, &r->export_to.format, e));
    TRY(fill_under(w, r->export_to.format, r, e));
    r->export_to.under = &r->under;
    r->create.export_to = &r->export_to;
    return ERR_OK;
}

static enum err_code fill_rotate(const struct words *w, struct request *r, struct err *e)
{
    SET_ACTION(r, ROTATE, rotate);
    TRY(fill_name(w, &r->key, e));
    r->rotate.key = &r->key;
    r->rotate.pre_active = w->pre_active;
    return ERR_OK;
}

static size_t strip(uint8_t *text, size_t len)
{
    size_t kept = 0;
    for (size_t i = 0; i < len; i++)
        if (text[i] != ' ' && text[i] != '\n' && text[i] != '\r' && text[i] != '\t')
            text[kept++] = text[i];
    text[kept] = '\0';
    return kept;
}

static enum err_code fill_wrapped(const struct words *w, struct request *r, struct err *e)
{
    const bool block = w->key_block != NULL;
    size_t len = 0;
    if (block == (w->wrapped != NULL))
        return err_set(e, ERR_INPUT, "--format needs --wrapped or --key-block, by its kind");
    TRY(read_format(w->format, &r->wrapped.format, e));
    TRY(fill_under(w, r->wrapped.format, r, e));
    TRY(file_read(block ? w->key_block : w->wrapped, 2 * WRAPPED_BYTES, &r->file, &len, e));
    len = strip(r->file, len);
    if (block) {
        r->wrapped.key_block = (char *)r->file;
    } else {
        TRY(hex_decode((char *)r->file, len, r->bytes, e));
        r->wrapped.wrapped = (ProtobufCBinaryData){len / 2, r->bytes};
    }
    r->wrapped.under = &r->under;
    r->import.source_case = POSWARD__HSM__V1__IMPORT_KEY__SOURCE_WRAPPED;
    r->import.wrapped = &r->wrapped;
    return ERR_OK;
}

static enum err_code fill_import(const struct words *w, struct request *r, struct err *e)
{
    uint64_t count = 0;
    SET_ACTION(r, IMPORT, import);
    TRY(fill_name(w, &r->key, e));
    r->import.key = &r->key;
    r->import.pre_active = w->pre_active;
    if (w->kcv != NULL) {
        if (strlen(w->kcv) != 6 || hex_decode(w->kcv, 6, r->kcv, e) != ERR_OK)
            return err_set(e, ERR_INPUT, "--kcv is '%.10s'; a check value has 6 hexadecimal digits", w->kcv);
        r->import.kcv = (ProtobufCBinaryData){sizeof r->kcv, r->kcv};
    }
    if ((w->components != NULL) == (w->format != NULL))
        return err_set(e, ERR_INPUT, "a key is imported by --components or by --format");
    if (w->format != NULL)
        return fill_wrapped(w, r, e);
    TRY(read_number(w->components, "components", 9, &count, e));
    r->components.count = (uint32_t)count;
    r->import.source_case = POSWARD__HSM__V1__IMPORT_KEY__SOURCE_COMPONENTS;
    r->import.components = &r->components;
    return ERR_OK;
}

static enum err_code fill_activate(const struct words *w, struct request *r, struct err *e)
{
    SET_ACTION(r, ACTIVATE, activate);
    r->activate.key = &r->key;
    return fill_name(w, &r->key, e);
}

static enum err_code fill_deactivate(const struct words *w, struct request *r, struct err *e)
{
    SET_ACTION(r, DEACTIVATE, deactivate);
    r->deactivate.key = &r->key;
    r->deactivate.break_use = w->break_use;
    return fill_name(w, &r->key, e);
}

static enum err_code fill_destroy(const struct words *w, struct request *r, struct err *e)
{
    SET_ACTION(r, DESTROY, destroy);
    r->destroy.key = &r->key;
    r->destroy.break_use = w->break_use;
    return fill_name(w, &r->key, e);
}

static enum err_code fill_policy(const struct words *w, struct request *r, struct err *e)
{
    Posward__Hsm__V1__Policy *const p = &r->policy;
    uint64_t expires = 0, approvals = 0, numbers[4] = {0};
    const struct {
        const char *text, *name;
        uint64_t *number;
    } rows[] = {{w->approvals, "approvals", &approvals},
                {w->expires, "expires", &expires},
                {w->terminal_minute, "pin-terminal-per-minute", &numbers[0]},
                {w->terminal_hour, "pin-terminal-per-hour", &numbers[1]},
                {w->account_minute, "pin-account-per-minute", &numbers[2]},
                {w->account_hour, "pin-account-per-hour", &numbers[3]}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        TRY(read_number(rows[i].text, rows[i].name, 10000000, rows[i].number, e));
    p->exposure = text_of(w->exposure);
    p->approvals = (uint32_t)approvals;
    p->proposal_expires_s = (int64_t)expires;
    p->pin_terminal_per_minute = (uint32_t)numbers[0];
    p->pin_terminal_per_hour = (uint32_t)numbers[1];
    p->pin_account_per_minute = (uint32_t)numbers[2];
    p->pin_account_per_hour = (uint32_t)numbers[3];
    r->change.policy = p;
    r->message.action_case = POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_POLICY;
    r->message.policy = &r->change;
    return ERR_OK;
}

/* ---- Calling and telling ---- */

static enum err_code call(struct cli *cli, const char *method, const ProtobufCMessage *request,
                          ProtobufCMessage **out_response, struct err *e)
{
    struct rpc_channel *const channel = cli_channel(cli, "hsm", e);
    const int64_t configured_ms = cli_timeout_ms(cli);
    const struct rpc_call_options options = {.timeout_ms =
                                                 configured_ms > APPROVE_MS ? configured_ms : APPROVE_MS};
    if (channel == NULL)
        return e->code;
    return rpc_unary(channel, &posward__hsm__v1__key_management__descriptor, method, request, &options,
                     out_response, e);
}

static const char *state_text(Posward__Hsm__V1__ProposalState state)
{
    static const char *const names[] = {"unknown", "pending",  "executing", "executed",
                                        "failed",  "rejected", "expired"};
    return (size_t)state < sizeof names / sizeof names[0] ? names[state] : names[0];
}

static void print_header(const Posward__Hsm__V1__KeyBlockHeader *h)
{
    printf(
        "header     version %s, usage %s, algorithm %s, mode of use %s, key version %s, exportability %s\n",
        h->version, h->usage, h->algorithm, h->mode, h->key_version, h->exportability);
    for (size_t i = 0; i < h->n_optional_blocks; i++)
        printf("           optional block %s\n", h->optional_blocks[i]);
}

static void print_bytes(const char *what, const ProtobufCBinaryData *bytes)
{
    printf("%-10s ", what);
    for (size_t i = 0; i < bytes->len; i++)
        printf("%02X", bytes->data[i]);
    printf("\n");
}

static void print_proposal(const Proposal *p)
{
    char when[CLOCK_TEXT_BYTES];
    printf("proposal   %s  %s\n", p->id, state_text(p->state));
    printf("what       %s\n", p->summary);
    printf("why        %s\n", p->reason);
    for (size_t i = 0; i < p->n_would_break; i++)
        printf("%-10s %s\n", i == 0 ? "would break" : "", p->would_break[i]);
    clock_text(p->proposed_ms, when);
    printf("proposed   by %s, %s\n", p->proposed_by, when);
    for (size_t i = 1; i < p->n_approvals; i++) {
        clock_text(p->approvals[i]->at_ms, when);
        printf("approved   by %s, %s\n", p->approvals[i]->identity, when);
    }
    for (size_t i = 0; i < p->n_components; i++) {
        const Posward__Hsm__V1__Component *const c = p->components[i];
        clock_text(c->at_ms, when);
        printf("component  %u by %s, check value %02X%02X%02X, %s\n", c->number, c->identity, c->kcv.data[0],
               c->kcv.data[1], c->kcv.data[2], when);
    }
    if (p->header != NULL)
        print_header(p->header);
    for (size_t i = 0; i < p->n_keys; i++)
        if (p->keys[i]->kcv.len == 3)
            print_bytes("check value", &p->keys[i]->kcv);
    if (p->exported != NULL && p->exported->key_block[0] != '\0')
        printf("key block  %s\n", p->exported->key_block);
    else if (p->exported != NULL)
        print_bytes("wrapped", &p->exported->wrapped);
    if (p->grade != POSWARD__TYPES__V1__GRADE__GRADE_UNSPECIFIED)
        printf("grade      %s\n",
               p->grade == POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN ? "IN_TOKEN" : "PROCESS_MEMORY");
    if (p->waits_for[0] != '\0') {
        clock_text(p->expires_ms, when);
        printf("waits for  %s (until %s)\n", p->waits_for, when);
    }
    if (p->closed_by[0] != '\0')
        printf("rejected   by %s\n", p->closed_by);
    if (p->detail[0] != '\0')
        printf("result     %s\n", p->detail);
}

static enum err_code show_answer(struct cli *cli, ProtobufCMessage *response, struct err *e)
{
    const Proposal *const p = (const Proposal *)response;
    enum err_code code = ERR_OK;
    if (cli_json(cli))
        code = cli_print(cli, response, e);
    else
        print_proposal(p);
    if (code == ERR_OK && p->state == POSWARD__HSM__V1__PROPOSAL_STATE__PROPOSAL_STATE_FAILED)
        code = err_set(e, ERR_STATE, "it was agreed on, and the token refused: %.120s", p->detail);
    protobuf_c_message_free_unpacked(response, NULL);
    return code;
}

typedef enum err_code (*fill_fn)(const struct words *w, struct request *r, struct err *e);

static enum err_code propose(struct cli *cli, const struct command *c, fill_fn fill, int argc, char **argv,
                             struct err *e)
{
    struct words words;
    AUTO(request) request = {0};
    ProtobufCMessage *response = NULL;
    TRY(read_words(c, argc, argv, &words, e));
    if (words.help) {
        print_help(c);
        return ERR_OK;
    }
    if (words.reason == NULL)
        return err_set(e, ERR_INPUT, "--reason is missing: the approvers read it");
    request_init(&request, &words);
    TRY(fill(&words, &request, e));
    TRY(call(cli, "Propose", &request.message.base, &response, e));
    return show_answer(cli, response, e);
}

#define AGREE "Another operator agrees with: posward key approve ID"
#define PROPOSAL_COMMAND(verb, text)                                                                         \
    enum err_code key_propose_##verb(struct cli *cli, int argc, char **argv, struct err *e)                  \
    {                                                                                                        \
        static const struct command command = {#verb, text, key_##verb##_options};                           \
        return propose(cli, &command, fill_##verb, argc, argv, e);                                           \
    }

PROPOSAL_COMMAND(create, "Propose a new key, made by the token's own generator.\n" AGREE)
PROPOSAL_COMMAND(rotate, "Propose the next version of a key. The versions before stay active until they are "
                         "deactivated.\n" AGREE)
PROPOSAL_COMMAND(import, "Propose to bring a key in: by components of custodians, or wrapped.\n" AGREE)
PROPOSAL_COMMAND(activate, "Propose to take a key into use.\n" AGREE)
PROPOSAL_COMMAND(deactivate, "Propose to use a key no longer, but to open what it protected.\n" AGREE)
PROPOSAL_COMMAND(destroy, "Propose to destroy a key for ever. It must not be active.\n" AGREE)

enum err_code key_propose_policy(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct command command = {"policy-change",
                                           "Propose a change of the policy; what is not named stays. The "
                                           "configuration is the outer bound.\n" AGREE,
                                           key_policy_options};
    return propose(cli, &command, fill_policy, argc, argv, e);
}

static enum err_code print_list(const Posward__Hsm__V1__ListProposalsResponse *list)
{
    printf("%-12s  %-9s  %-24s  %s\n", "ID", "STATE", "PROPOSED", "WHAT");
    for (size_t i = 0; i < list->n_proposals; i++) {
        const Proposal *const p = list->proposals[i];
        char when[CLOCK_TEXT_BYTES];
        clock_text(p->proposed_ms, when);
        printf("%-12s  %-9s  %-24s  %s\n", p->id, state_text(p->state), when, p->summary);
        printf("%-12s  %-9s  by %s: %s\n", "", "", p->proposed_by, p->reason);
        if (p->waits_for[0] != '\0')
            printf("%-12s  %-9s  waits for %s\n", "", "", p->waits_for);
    }
    return ERR_OK;
}

enum err_code key_proposals(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct command command = {"proposals", "Show what is proposed, and who it waits for.",
                                           key_proposals_options};
    struct words words;
    ProtobufCMessage *response = NULL;
    Posward__Hsm__V1__ListProposalsRequest request = POSWARD__HSM__V1__LIST_PROPOSALS_REQUEST__INIT;
    TRY(read_words(&command, argc, argv, &words, e));
    if (words.help) {
        print_help(&command);
        return ERR_OK;
    }
    request.all = words.all;
    TRY(call(cli, "ListProposals", &request.base, &response, e));
    const enum err_code code = cli_json(cli)
                                   ? cli_print(cli, response, e)
                                   : print_list((const Posward__Hsm__V1__ListProposalsResponse *)response);
    protobuf_c_message_free_unpacked(response, NULL);
    return code;
}

static enum err_code act_on(struct cli *cli, const struct command *c, const char *method, int argc,
                            char **argv, struct err *e)
{
    struct words words;
    ProtobufCMessage *response = NULL;
    TRY(read_words(c, argc, argv, &words, e));
    if (words.help) {
        print_help(c);
        return ERR_OK;
    }
    if (words.id == NULL)
        return err_set(e, ERR_INPUT, "which proposal? posward key proposals shows their ids");
    Posward__Hsm__V1__ApproveRequest approve = POSWARD__HSM__V1__APPROVE_REQUEST__INIT;
    Posward__Hsm__V1__RejectRequest reject = POSWARD__HSM__V1__REJECT_REQUEST__INIT;
    approve.id = reject.id = text_of(words.id);
    reject.reason = text_of(words.reason);
    const bool is_reject = strcmp(method, "Reject") == 0;
    TRY(call(cli, method, is_reject ? &reject.base : &approve.base, &response, e));
    return show_answer(cli, response, e);
}

enum err_code key_approve(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct command command = {
        "approve",
        "Agree to a proposal of another operator. The last approval that is needed carries it out.",
        key_approve_options};
    return act_on(cli, &command, "Approve", argc, argv, e);
}

enum err_code key_reject(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct command command = {"reject", "Close a proposal; your own one: withdraw it.",
                                           key_reject_options};
    return act_on(cli, &command, "Reject", argc, argv, e);
}

enum err_code key_show(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct command command = {"show", "Show one key, who depends on it, and proposals about it.",
                                           key_show_options};
    struct words words;
    ProtobufCMessage *response = NULL;
    Posward__Hsm__V1__GetKeyRequest request = POSWARD__HSM__V1__GET_KEY_REQUEST__INIT;
    Posward__Hsm__V1__KeyName name;
    TRY(read_words(&command, argc, argv, &words, e));
    if (words.help) {
        print_help(&command);
        return ERR_OK;
    }
    TRY(fill_name(&words, &name, e));
    request.key = &name;
    TRY(call(cli, "GetKey", &request.base, &response, e));
    const enum err_code code = cli_print(cli, response, e);
    protobuf_c_message_free_unpacked(response, NULL);
    return code;
}
