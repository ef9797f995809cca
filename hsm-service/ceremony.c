#include "hsm-service/ceremony.h"
#include "p11/tok.h"

#include "base/hex.h"
#include "hsm-service/audit/store.h"
#include "hsm-service/harden.h"
#include "hsm-service/tokendir/tokendir.h"

#include <stdio.h>
#include <string.h>

static struct tok_options options_of(const struct hsm_config *c)
{
    return (struct tok_options){.module_path = c->token_module,
                                .token_label = c->token_label,
                                .token_serial = c->token_serial,
                                .pin_path = c->token_pin_file,
                                .init_string = c->token_init_string,
                                .lock_path = c->token_lock_file,
                                .session_count = 1};
}

static struct tokendir tokendir_of(const struct hsm_config *c)
{
    return (struct tokendir){.directory = c->token_directory,
                             .label = c->token_label,
                             .backup = c->token_backup_dir,
                             .lock_path = c->token_lock_file};
}

static enum err_code mend(struct ceremony *c, struct err *e)
{
    const struct tokendir folder = tokendir_of(&c->config);
    char notice[TOKENDIR_NOTICE_BYTES];
    TRY(tokendir_mend(&folder, notice, e));
    if (notice[0] == '\0')
        return ERR_OK;
    fprintf(stderr, "%s\n", notice);
    return ceremony_record_notice(c, notice, e);
}

void ceremony_back_up(struct ceremony *c)
{
    const struct tokendir folder = tokendir_of(&c->config);
    struct err e = {0};
    if (tokendir_keep(&folder, &e) != ERR_OK)
        fprintf(stderr, "the token was not backed up: %s\n", e.note);
}

static enum err_code open_token(struct ceremony *c, struct err *e)
{
    const struct tok_options options = options_of(&c->config);
    TRY(hsm_config_check(&c->config, e));
    TRY(harden_process(e));
    TRY(mend(c, e));
    TRY(tok_open(&options, &c->tok, e));
    return tok_keys_load(c->tok, e);
}

enum err_code ceremony_init(struct ceremony *c, const char *config_path, struct err *e)
{
    *c = (struct ceremony){0};
    if (config_path == NULL)
        return err_set(e, ERR_INPUT, "--hsm-config is missing: the HSM service's configuration file");
    TRY(conf_load(config_path, hsm_config_rows, &c->config, e));
    if (ceremony_audit_open(c, e) != ERR_OK || open_token(c, e) != ERR_OK) {
        ceremony_record_failure(c, e);
        ceremony_drop(c);
        return e->code;
    }
    return ERR_OK;
}

void ceremony_drop(struct ceremony *c)
{
    audit_store_close(c->audit);
    tok_close(c->tok);
    conf_drop(hsm_config_rows, &c->config);
    *c = (struct ceremony){0};
}

bool ceremony_find(const struct ceremony *c, const struct tok_key_name *name, struct tok_key_info *out_info)
{
    char wanted[TOK_LABEL_BYTES];
    tok_key_label(name, wanted);
    for (size_t i = 0; i < tok_keys_count(c->tok); i++) {
        struct tok_key_info info;
        tok_keys_info(c->tok, i, &info);
        if (strcmp(info.label, wanted) != 0)
            continue;
        *out_info = info;
        return true;
    }
    return false;
}

void ceremony_say_next(void)
{
    fputs("A running service sees new keys after SIGHUP: systemctl reload posward-hsm, or kill -HUP its "
          "process.\n",
          stderr);
}

enum err_code ceremony_zone(const char *zone, struct tok_key_name *name, struct err *e)
{
    const bool wanted =
        name->role == TOK_ZONE_PIN || name->role == TOK_ZONE_MAC || name->role == TOK_ZONE_DATA;
    if (wanted && zone == NULL)
        return err_set(e, ERR_INPUT, "--zone is missing: whose %s key it is", tok_role_name(name->role));
    if (!wanted && zone != NULL)
        return err_set(e, ERR_INPUT, "--zone is for zone keys; a %s key has none", tok_role_name(name->role));
    if (zone != NULL && strlen(zone) >= sizeof name->zone)
        return err_set(e, ERR_INPUT, "a zone's name has 1 to %d characters a-z 0-9 -", TOK_ZONE_BYTES - 1);
    if (zone != NULL)
        memcpy(name->zone, zone, strlen(zone) + 1);
    return ERR_OK;
}
