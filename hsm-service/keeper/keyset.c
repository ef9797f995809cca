#include "hsm-service/keeper/keyset.h"

#include "base/hex.h"
#include "hsm-service/audit/record.h"
#include "p11/travel/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAIR_BYTES 8 /* of a digest: it tells pairs apart, and proves nothing */

/* "posward/" in front of every label says nothing here. */
static const char *short_label(const struct tok_key_info *info)
{
    const char *const slash = strchr(info->label, '/');
    return slash != NULL ? slash + 1 : info->label;
}

static enum err_code value_of(struct tok *tok, const struct tok_key_info *info,
                              char out_text[2 * PAIR_BYTES + 1], struct err *e)
{
    struct tok_pair_identity identity;
    uint8_t digest[AUDIT_HASH_BYTES];
    snprintf(out_text, 2 * PAIR_BYTES + 1, "-");
    if (info->has_kcv) {
        hex_encode(info->kcv, sizeof info->kcv, out_text);
        return ERR_OK;
    }
    if (!tok_role_is_pair(info->name.role))
        return ERR_OK;
    const enum err_code code = tok_pair_identity(tok, &info->name, &identity, e);
    if (code == ERR_UNAVAILABLE)
        return code;
    if (code == ERR_OK) {
        audit_sha256(identity.bytes, identity.len, digest);
        hex_encode(digest, PAIR_BYTES, out_text);
    }
    return ERR_OK;
}

static int by_label(const void *a, const void *b)
{
    return strcmp(((const struct tok_key_info *)a)->label, ((const struct tok_key_info *)b)->label);
}

static enum err_code write_lines(struct tok *tok, struct tok_key_info *infos, size_t count, FILE *out,
                                 struct err *e)
{
    for (size_t i = 0; i < count; i++)
        tok_keys_info(tok, i, &infos[i]);
    qsort(infos, count, sizeof *infos, by_label);
    for (size_t i = 0; i < count; i++) {
        char value[2 * PAIR_BYTES + 1];
        TRY(value_of(tok, &infos[i], value, e));
        fprintf(out, "%s %c %s\n", short_label(&infos[i]), tok_state_name(infos[i].state)[0], value);
    }
    return ERR_OK;
}

enum err_code keyset_text(struct tok *tok, size_t most, char **out_text, struct err *e)
{
    char *text = NULL;
    size_t len = 0;
    const size_t count = tok_keys_count(tok);
    struct tok_key_info *const infos = calloc(count + 1, sizeof *infos);
    FILE *const out = open_memstream(&text, &len);
    enum err_code code = ERR_OK;
    if (infos == NULL || out == NULL)
        code = err_set(e, ERR_LIMIT, "no memory for the list of keys");
    else
        code = write_lines(tok, infos, count, out, e);
    if (out != NULL && fclose(out) != 0 && code == ERR_OK)
        code = err_set(e, ERR_LIMIT, "no memory for the list of keys");
    free(infos);
    if (code == ERR_OK && len > most)
        code = err_set(e, ERR_LIMIT, "the list of the token's %zu keys is too long to compare", count);
    if (code != ERR_OK) {
        free(text);
        return code;
    }
    *out_text = text;
    return ERR_OK;
}
