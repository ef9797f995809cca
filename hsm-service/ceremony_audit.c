/* What a ceremony writes into the audit log, in the service's folder, beside a service that may run. */
#include "hsm-service/ceremony.h"

#include "base/clock.h"
#include "hsm-service/audit/signature.h"
#include "hsm-service/audit/store.h"
#include "p11/flow/flows.h"
#include "p11/tok.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void fill_who(struct audit_record *r)
{
    char text[128];
    const struct passwd *const user = getpwuid(getuid());
    snprintf(text, sizeof text, "uid:%u %.80s", (unsigned)getuid(), user != NULL ? user->pw_name : "");
    audit_text(text, strlen(text), r->who, sizeof r->who);
}

static enum err_code append(struct ceremony *c, const struct audit_record *r, struct err *e)
{
    struct audit_head head;
    if (audit_store_append(c->audit, r, 1, &head, e) == ERR_OK)
        return ERR_OK;
    err_prefix(e, "the audit log cannot be written");
    e->code = ERR_UNAVAILABLE;
    return ERR_UNAVAILABLE;
}

enum err_code ceremony_record(struct ceremony *c, const char *what, const struct tok_key_info *key,
                              struct err *e)
{
    if (c->audit == NULL)
        return ERR_OK;
    struct audit_record r = {.kind = AUDIT_CEREMONY, .time_ms = clock_wall_ms(), .result = "OK"};
    char kcv[7];
    fill_who(&r);
    audit_text(what, strlen(what), r.what, sizeof r.what);
    if (key != NULL) {
        ceremony_kcv_text(key, kcv);
        audit_text(key->label, strlen(key->label), r.key, sizeof r.key);
        snprintf(r.note, sizeof r.note, "kcv=%s", kcv);
    }
    return append(c, &r, e);
}

enum err_code ceremony_record_notice(struct ceremony *c, const char *notice, struct err *e)
{
    if (c->audit == NULL)
        return ERR_OK;
    struct audit_record r = {.kind = AUDIT_CEREMONY, .time_ms = clock_wall_ms(), .result = "OK"};
    fill_who(&r);
    snprintf(r.what, sizeof r.what, "ceremony notice");
    audit_text(notice, strlen(notice), r.note, sizeof r.note);
    return append(c, &r, e);
}

void ceremony_record_failure(struct ceremony *c, const struct err *failure)
{
    struct audit_record r = {.kind = AUDIT_CEREMONY, .time_ms = clock_wall_ms()};
    struct err ignored = {0};
    if (c->audit == NULL)
        return;
    fill_who(&r);
    snprintf(r.what, sizeof r.what, "the token was not opened");
    snprintf(r.result, sizeof r.result, "%s", err_name(failure->code));
    audit_text(failure->note, strlen(failure->note), r.note, sizeof r.note);
    (void)!append(c, &r, &ignored); /* the first failure is what the caller hears */
}

enum err_code ceremony_audit_open(struct ceremony *c, struct err *e)
{
    const char *const dir = c->config.audit_path;
    if (dir == NULL || dir[0] == '\0')
        return ERR_OK;
    const struct audit_store_options options = {.dir = dir};
    if (audit_store_open(&options, &c->audit, e) != ERR_OK) {
        err_prefix(e, "no ceremony without its record");
        return e->code;
    }
    return ceremony_record(c, "ceremony begins", NULL, e);
}

static enum err_code sign(struct ceremony *c, struct tok_session *s, struct err *e)
{
    char path[1024];
    uint8_t digest[AUDIT_HASH_BYTES], signature[AUDIT_SIGNATURE_BYTES];
    struct audit_key key;
    struct audit_record r = {.kind = AUDIT_CHECKPOINT, .time_ms = clock_wall_ms(), .result = "OK"};
    const struct audit_head head = audit_store_head(c->audit);
    audit_checkpoint_digest(&head, digest);
    TRY(tok_audit_point(s, key.point, e));
    TRY(tok_audit_sign(s, digest, signature, e));
    TRY(audit_checkpoint_check(&key, &head, signature, e));
    fill_who(&r);
    snprintf(r.what, sizeof r.what, "signed");
    snprintf(r.key, sizeof r.key, "audit/ec-p256");
    snprintf(r.grade, sizeof r.grade, "IN_TOKEN");
    audit_checkpoint_note(&head, signature, r.note);
    snprintf(path, sizeof path, "%s/%s", audit_store_dir(c->audit), AUDIT_KEY_FILE);
    if (access(path, F_OK) != 0)
        TRY(audit_key_write(&key, path, e));
    return append(c, &r, e);
}

enum err_code ceremony_audit_end(struct ceremony *c, struct err *e)
{
    struct tok_session *s = NULL;
    if (c->audit == NULL)
        return ERR_OK;
    TRY(ceremony_record(c, "ceremony ends", NULL, e));
    TRY(tok_keys_load(c->tok, e));
    if (tok_keys_newest(c->tok, TOK_AUDIT, TOK_EC_P256, "") == 0)
        return ERR_OK; /* not made yet: a later ceremony, or the service, signs this too */
    TRY(tok_session_take(c->tok, &s, e));
    const enum err_code code = sign(c, s, e);
    tok_session_give(s);
    return code;
}
