/* The tokens of the pool: `token`, then token.replicas, each with what it takes from `token`. */
#include "hsm-service/config.h"

#include <stdio.h>
#include <string.h>

static const char *text(const char *value)
{
    return value != NULL ? value : "";
}

static const char *either(const char *own, const char *inherited)
{
    return own != NULL ? own : inherited;
}

static const struct hsm_replica *replica_at(const struct hsm_config *c, size_t index)
{
    return (const struct hsm_replica *)c->replicas.items + (index - 1);
}

size_t hsm_config_tokens(const struct hsm_config *c)
{
    return 1 + c->replicas.count;
}

/* A copy of a SoftHSM token has the label and the serial number of the first one: the place tells them apart.
 */
static void name_token(const struct hsm_config *c, size_t index, struct hsm_token *t)
{
    const char *const label = either(replica_at(c, index)->label, c->token_label);
    bool taken = strcmp(label, c->token_label) == 0;
    for (size_t i = 1; i < index; i++)
        taken |= strcmp(label, either(replica_at(c, i)->label, c->token_label)) == 0;
    if (replica_at(c, index)->name != NULL)
        snprintf(t->name, sizeof t->name, "%s", replica_at(c, index)->name);
    else if (taken)
        snprintf(t->name, sizeof t->name, "%.40s-%zu", label, index + 1);
    else
        snprintf(t->name, sizeof t->name, "%s", label);
}

void hsm_config_token(const struct hsm_config *c, size_t index, struct hsm_token *out_token)
{
    struct hsm_token t = {.module = c->token_module,
                          .label = c->token_label,
                          .serial = c->token_serial,
                          .pin_file = c->token_pin_file,
                          .init_string = c->token_init_string,
                          .lock_file = c->token_lock_file,
                          .directory = c->token_directory,
                          .backup_dir = c->token_backup_dir};
    snprintf(t.name, sizeof t.name, "%s", c->token_label);
    if (index > 0) {
        const struct hsm_replica *const r = replica_at(c, index);
        name_token(c, index, &t);
        t.serial = r->label != NULL ? r->serial : either(r->serial, t.serial);
        t.init_string = r->module != NULL ? r->init_string : either(r->init_string, t.init_string);
        t.module = either(r->module, t.module);
        t.label = either(r->label, t.label);
        t.pin_file = either(r->pin_file, t.pin_file);
        t.lock_file = r->lock_file;
        t.directory = r->directory;
        t.backup_dir = r->backup_dir;
        t.environment = &r->environment;
    }
    *out_token = t;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(text(a), text(b)) == 0;
}

static bool same_environment(const struct conf_items *a, const struct conf_items *b)
{
    const size_t count = a != NULL ? a->count : 0;
    if (count != (b != NULL ? b->count : 0))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!same_text(((const struct hsm_variable *)a->items)[i].text,
                       ((const struct hsm_variable *)b->items)[i].text))
            return false;
    return true;
}

static bool is_same(const struct hsm_token *a, const struct hsm_token *b)
{
    return same_text(a->module, b->module) && same_text(a->label, b->label) &&
           same_text(a->serial, b->serial) && same_text(a->init_string, b->init_string) &&
           same_environment(a->environment, b->environment);
}

static enum err_code check_two(const struct hsm_token *a, const struct hsm_token *b, size_t index,
                               struct err *e)
{
    if (is_same(a, b))
        return err_set(
            e, ERR_INPUT,
            "token.replicas[%zu] is the token %.40s once more; give its serial, init_string, or an "
            "environment that leads to another one",
            index, a->name);
    if (same_text(a->name, b->name))
        return err_set(e, ERR_INPUT, "token.replicas[%zu].name is '%.40s', as of another token", index,
                       a->name);
    if (a->lock_file != NULL && same_text(a->lock_file, b->lock_file))
        return err_set(e, ERR_INPUT,
                       "token.replicas[%zu].lock_file is that of %.40s; each token has its own, or one that "
                       "hangs stops the other",
                       index, a->name);
    if (text(a->backup_dir)[0] != '\0' && same_text(a->backup_dir, b->backup_dir))
        return err_set(e, ERR_INPUT,
                       "token.replicas[%zu].backup_dir is that of %.40s; each token has its own", index,
                       a->name);
    return ERR_OK;
}

static enum err_code check_one(const struct hsm_config *c, size_t index, const struct hsm_token *t,
                               struct err *e)
{
    const struct hsm_replica *const r = replica_at(c, index);
    const struct hsm_variable *const variables = r->environment.items;
    if (r->name != NULL && (r->name[0] == '\0' || strlen(r->name) >= HSM_NAME_BYTES))
        return err_set(e, ERR_INPUT, "token.replicas[%zu].name has 1 to %d characters", index - 1,
                       HSM_NAME_BYTES - 1);
    if (text(t->module)[0] == '\0' || text(t->label)[0] == '\0' || text(t->pin_file)[0] == '\0')
        return err_set(e, ERR_INPUT, "token.replicas[%zu] has an empty module, label or pin_file", index - 1);
    if (text(c->token_lock_file)[0] != '\0' && text(t->lock_file)[0] == '\0')
        return err_set(e, ERR_INPUT,
                       "token.replicas[%zu].lock_file is missing: token.lock_file is set, and no two tokens "
                       "share one",
                       index - 1);
    for (size_t i = 0; i < r->environment.count; i++)
        if (strchr(variables[i].text, '=') == NULL || variables[i].text[0] == '=')
            return err_set(e, ERR_INPUT, "token.replicas[%zu].environment[%zu] is not NAME=VALUE", index - 1,
                           i);
    return ERR_OK;
}

enum err_code hsm_config_check_tokens(const struct hsm_config *c, struct err *e)
{
    struct hsm_token tokens[HSM_TOKENS_MOST];
    const size_t count = hsm_config_tokens(c);
    if (count * (size_t)c->keeper_count > HSM_KEEPERS_MOST)
        return err_set(e, ERR_INPUT,
                       "keepers.count is %lld for each of %zu tokens; there are at most %d keepers",
                       (long long)c->keeper_count, count, HSM_KEEPERS_MOST);
    for (size_t i = 0; i < count; i++) {
        hsm_config_token(c, i, &tokens[i]);
        if (i > 0)
            TRY(check_one(c, i, &tokens[i], e));
        for (size_t n = 0; n < i; n++)
            TRY(check_two(&tokens[n], &tokens[i], i - 1, e));
    }
    return ERR_OK;
}

size_t hsm_config_descriptors(const void *config, const char **out_key)
{
    const struct hsm_config *const c = config;
    *out_key = "keepers.count";
    return 2 * HSM_KEEPER_DESCRIPTORS * (size_t)c->keeper_count * hsm_config_tokens(c);
}
