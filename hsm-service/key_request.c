#include "hsm-service/key_propose_inside.h"

#include "base/file.h"
#include "base/hex.h"
#include "base/terms.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

char *key_text(const char *text)
{
    return (char *)(uintptr_t)(text != NULL ? text : "");
}

enum err_code key_fill_name(const struct key_words *w, Posward__Hsm__V1__KeyName *out_name, struct err *e)
{
    uint64_t version = 0;
    if (w->role == NULL || w->suite == NULL)
        return err_set(e, ERR_INPUT, "--role and --suite say which key; --zone too for a zone's");
    TRY(read_number(w->version, "version", KEY_VERSION_MAX, &version, e));
    posward__hsm__v1__key_name__init(out_name);
    out_name->role = key_text(w->role);
    out_name->suite = key_text(w->suite);
    out_name->zone = key_text(w->zone);
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
    return err_set(e, ERR_INPUT, "'%.20s' is no format; there are " KEY_FORMATS, text);
}

void key_request_drop(struct key_request *r)
{
    free(r->file);
}

void key_request_init(struct key_request *r, const struct key_words *w)
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
    r->message.reason = key_text(w->reason);
}

#define SET_ACTION(r, which, field)                                                                          \
    ((r)->message.action_case = POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_##which,                           \
     (r)->message.field = &(r)->field)

static enum err_code fill_under(const struct key_words *w, Posward__Hsm__V1__KeyFormat format,
                                struct key_request *r, struct err *e)
{
    uint64_t version = 0;
    const bool oaep = format == POSWARD__HSM__V1__KEY_FORMAT__KEY_FORMAT_RSA_OAEP;
    if (w->under_suite == NULL && !oaep)
        return err_set(e, ERR_INPUT, "--under-suite is missing: which of the zone's master keys wraps it?");
    TRY(read_number(w->under_version, "under-version", KEY_VERSION_MAX, &version, e));
    r->under.role = key_text(oaep ? "transport" : "zone-master");
    r->under.suite = key_text(oaep ? "rsa-3072" : w->under_suite);
    r->under.zone = key_text(oaep ? "" : w->zone);
    r->under.version = (uint32_t)version;
    return ERR_OK;
}

enum err_code key_fill_create(const struct key_words *w, struct key_request *r, struct err *e)
{
    SET_ACTION(r, CREATE, create);
    TRY(key_fill_name(w, &r->key, e));
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

enum err_code key_fill_rotate(const struct key_words *w, struct key_request *r, struct err *e)
{
    SET_ACTION(r, ROTATE, rotate);
    TRY(key_fill_name(w, &r->key, e));
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

static enum err_code fill_wrapped(const struct key_words *w, struct key_request *r, struct err *e)
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

enum err_code key_fill_import(const struct key_words *w, struct key_request *r, struct err *e)
{
    uint64_t count = 0;
    SET_ACTION(r, IMPORT, import);
    TRY(key_fill_name(w, &r->key, e));
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

enum err_code key_fill_activate(const struct key_words *w, struct key_request *r, struct err *e)
{
    SET_ACTION(r, ACTIVATE, activate);
    r->activate.key = &r->key;
    return key_fill_name(w, &r->key, e);
}

enum err_code key_fill_deactivate(const struct key_words *w, struct key_request *r, struct err *e)
{
    SET_ACTION(r, DEACTIVATE, deactivate);
    r->deactivate.key = &r->key;
    r->deactivate.break_use = w->break_use;
    return key_fill_name(w, &r->key, e);
}

enum err_code key_fill_destroy(const struct key_words *w, struct key_request *r, struct err *e)
{
    SET_ACTION(r, DESTROY, destroy);
    r->destroy.key = &r->key;
    r->destroy.break_use = w->break_use;
    return key_fill_name(w, &r->key, e);
}

enum err_code key_fill_policy(const struct key_words *w, struct key_request *r, struct err *e)
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
    p->exposure = key_text(w->exposure);
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
