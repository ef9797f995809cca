#include "base/conf.h"

#include "base/conf_yaml.h"
#include "base/log.h"
#include "base/nearest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 128 /* a dotted key; longer ones are cut in errors and match no row */

enum given { GIVEN_NOT, GIVEN, GIVEN_BY_OLD_KEY };

/* One mapping being filled: a row table, its struct, and which rows the file has given so far. */
struct target {
    const struct conf_row *rows;
    char *base;
    enum given given[CONF_MAX_ROWS];
    size_t line; /* where it begins */
};

static enum err_code read_value(struct conf_reader *r, const struct conf_row *row, struct target *t,
                                const struct conf_token *token, struct err *e);

static bool is_plain_list(const struct conf_row *row)
{
    return row->list->rows[0].key[0] == '\0';
}

static enum err_code store_int(const struct conf_row *row, char *base, const char *text, struct err *e)
{
    char *end = NULL;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (strspn(text, "-0123456789") == 0 || *end != '\0' || errno != 0)
        return err_set(e, ERR_INPUT, "'%s' is a whole number, not '%.40s'", row->key, text);
    if ((row->least != 0 || row->most != 0) && (number < row->least || number > row->most))
        return err_set(e, ERR_INPUT, "'%s' is %lld; it must be within %lld and %lld", row->key, number,
                       (long long)row->least, (long long)row->most);
    *(int64_t *)(void *)(base + row->offset) = number;
    return ERR_OK;
}

static enum err_code store_bool(const struct conf_row *row, char *base, const char *text, struct err *e)
{
    const bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0)
        return err_set(e, ERR_INPUT, "'%s' is true or false, not '%.40s'", row->key, text);
    *(bool *)(base + row->offset) = yes;
    return ERR_OK;
}

static enum err_code store_string(const struct conf_row *row, char *base, const char *text, struct err *e)
{
    if (row->required && text[0] == '\0')
        return err_set(e, ERR_INPUT, "'%s' must not be empty", row->key);
    char *const copy = strdup(text);
    if (copy == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for '%s'", row->key);
    *(char **)(void *)(base + row->offset) = copy;
    return ERR_OK;
}

static enum err_code store(const struct conf_row *row, char *base, const char *text, struct err *e)
{
    switch (row->type) {
    case CONF_STRING:
        return store_string(row, base, text, e);
    case CONF_INT:
        return store_int(row, base, text, e);
    case CONF_BOOL:
        return store_bool(row, base, text, e);
    case CONF_LIST:
        return err_set(e, ERR_INPUT, "'%s' is a list: each item on a line that begins with '-'", row->key);
    }
    return err_set(e, ERR_INTERNAL, "row '%s' has no type", row->key);
}

static enum err_code finish(const struct conf_reader *r, const struct target *t, struct err *e)
{
    for (size_t i = 0; t->rows[i].key != NULL; i++) {
        const struct conf_row *const row = &t->rows[i];
        if (t->given[i] != GIVEN_NOT)
            continue;
        if (row->required)
            return conf_reader_fail(r, t->line, e, "'%s' is missing: %s", row->key,
                                    row->help != NULL ? row->help : "it has no fallback");
        if (row->fallback != NULL)
            TRY(store(row, t->base, row->fallback, e));
    }
    return ERR_OK;
}

/* The key of a row, or its first segments ("tls" of "tls.cert"), is what stood in place of `path`. */
static enum err_code refuse_key(const struct conf_reader *r, const struct target *t, const char *path,
                                size_t line, struct err *e)
{
    size_t dots = 0;
    for (const char *c = path; *c != '\0'; c++)
        dots += *c == '.';
    struct nearest near = {.word = path};
    for (const struct conf_row *row = t->rows; row->key != NULL; row++) {
        size_t len = 0, passed = 0;
        while (row->key[len] != '\0' && (row->key[len] != '.' || passed++ < dots))
            len++;
        nearest_offer_part(&near, row->key, len);
    }
    if (nearest_found(&near) == NULL)
        return conf_reader_fail(r, line, e, "unknown key '%.60s'", path);
    return conf_reader_fail(r, line, e, "unknown key '%.60s'; did you mean '%s'?", path, near.best);
}

static bool is_old_key(const struct conf_row *row, const char *path)
{
    return row->formerly != NULL && strcmp(row->formerly, path) == 0;
}

static const struct conf_row *row_of(const struct target *t, const char *path)
{
    for (const struct conf_row *row = t->rows; row->key != NULL; row++) {
        if (strcmp(row->key, path) == 0 || is_old_key(row, path))
            return row;
    }
    return NULL;
}

static bool begins(const char *key, const char *path)
{
    const size_t len = strlen(path);
    return key != NULL && strncmp(key, path, len) == 0 && key[len] == '.';
}

static bool is_prefix(const struct target *t, const char *path)
{
    for (const struct conf_row *row = t->rows; row->key != NULL; row++) {
        if (begins(row->key, path) || begins(row->formerly, path))
            return true;
    }
    return false;
}

static bool same_section(const char *a, const char *b)
{
    const size_t len = strcspn(a, ".");
    return a[len] == '.' && strncmp(a, b, len + 1) == 0;
}

/* A file that gives a part by old keys and a part by new ones was merged from two: nobody can tell which of
 * them is meant. */
static enum err_code take_key(const struct conf_reader *r, struct target *t, const struct conf_row *row,
                              bool old, size_t line, struct err *e)
{
    for (size_t i = 0; row->formerly != NULL && t->rows[i].key != NULL; i++)
        if (t->given[i] == (old ? GIVEN : GIVEN_BY_OLD_KEY) && t->rows[i].formerly != NULL &&
            same_section(t->rows[i].formerly, row->formerly))
            return conf_reader_fail(r, line, e,
                                    "'%s' and '%s' are old and new keys of one section; keep '%s'",
                                    old ? row->formerly : t->rows[i].formerly,
                                    old ? t->rows[i].key : row->key, old ? t->rows[i].key : row->key);
    t->given[row - t->rows] = old ? GIVEN_BY_OLD_KEY : GIVEN;
    if (old)
        log_event(LOG_WARN, "a key of the configuration has a new name; please rename it",
                  LOG_STR("file", r->name), LOG_INT("line", line), LOG_STR("old", row->formerly),
                  LOG_STR("new", row->key));
    return ERR_OK;
}

static enum err_code read_mapping(struct conf_reader *r, struct target *t, const char *prefix, struct err *e);

static enum err_code read_pair(struct conf_reader *r, struct target *t, const char *path, size_t line,
                               struct err *e)
{
    const struct conf_row *const row = row_of(t, path);
    if (row == NULL && !is_prefix(t, path))
        return refuse_key(r, t, path, line, e);
    struct conf_token value;
    TRY(conf_reader_next(r, &value, e));
    if (row == NULL && value.kind == CONF_TOKEN_MAP)
        return read_mapping(r, t, path, e);
    if (row == NULL && value.kind == CONF_TOKEN_SCALAR && value.text[0] == '\0')
        return ERR_OK; /* a heading whose keys are all commented out */
    if (row == NULL)
        return conf_reader_fail(r, line, e, "'%s' holds keys of its own, not a value", path);
    const bool old = is_old_key(row, path);
    if (t->given[row - t->rows] == (old ? GIVEN_BY_OLD_KEY : GIVEN))
        return conf_reader_fail(r, line, e, "'%s' stands here a second time", path);
    TRY(take_key(r, t, row, old, line, e));
    return read_value(r, row, t, &value, e);
}

static enum err_code read_mapping(struct conf_reader *r, struct target *t, const char *prefix, struct err *e)
{
    for (;;) {
        struct conf_token key;
        TRY(conf_reader_next(r, &key, e));
        if (key.kind == CONF_TOKEN_MAP_END)
            return ERR_OK;
        if (key.kind != CONF_TOKEN_SCALAR)
            return conf_reader_fail(r, key.line, e, "a key is a word, not a mapping or a list");
        char path[PATH_BYTES];
        const char *const dot = prefix[0] != '\0' ? "." : "";
        if (snprintf(path, sizeof path, "%s%s%s", prefix, dot, key.text) >= (int)sizeof path)
            return conf_reader_fail(r, key.line, e, "unknown key '%.60s...'", path);
        TRY(read_pair(r, t, path, key.line, e));
    }
}

static enum err_code check_rows(const struct conf_row *rows, struct err *e)
{
    size_t count = 0;
    while (rows[count].key != NULL)
        count++;
    return count <= CONF_MAX_ROWS ? ERR_OK : err_set(e, ERR_INTERNAL, "%zu rows in one table", count);
}

static enum err_code read_item(struct conf_reader *r, const struct conf_row *row, char *item,
                               const struct conf_token *token, struct err *e)
{
    struct target t = {.rows = row->list->rows, .base = item, .line = token->line};
    TRY(check_rows(t.rows, e));
    if (is_plain_list(row)) {
        if (token->kind != CONF_TOKEN_SCALAR)
            return conf_reader_fail(r, token->line, e, "an item of '%s' is a plain value", row->key);
        return read_value(r, &t.rows[0], &t, token, e);
    }
    if (token->kind != CONF_TOKEN_MAP)
        return conf_reader_fail(r, token->line, e, "an item of '%s' holds keys of its own", row->key);
    TRY(read_mapping(r, &t, "", e));
    return finish(r, &t, e);
}

static enum err_code grow(struct conf_items *items, size_t item_bytes, struct err *e)
{
    void *const more = realloc(items->items, (items->count + 1) * item_bytes);
    if (more == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for a list of %zu items", items->count + 1);
    items->items = more;
    memset((char *)more + items->count * item_bytes, 0, item_bytes);
    items->count++;
    return ERR_OK;
}

static enum err_code read_list(struct conf_reader *r, const struct conf_row *row, struct conf_items *items,
                               struct err *e)
{
    const size_t most = row->most > 0 ? (size_t)row->most : CONF_MAX_ITEMS;
    const size_t item_bytes = row->list->item_bytes;
    items->given = true;
    for (;;) {
        struct conf_token token;
        TRY(conf_reader_next(r, &token, e));
        if (token.kind == CONF_TOKEN_SEQUENCE_END)
            return ERR_OK;
        if (items->count == most)
            return conf_reader_fail(r, token.line, e, "'%s' has more than %zu items", row->key, most);
        TRY(grow(items, item_bytes, e));
        TRY(read_item(r, row, (char *)items->items + (items->count - 1) * item_bytes, &token, e));
    }
}

static enum err_code read_value(struct conf_reader *r, const struct conf_row *row, struct target *t,
                                const struct conf_token *token, struct err *e)
{
    if (row->type == CONF_LIST && token->kind == CONF_TOKEN_SEQUENCE)
        return read_list(r, row, (struct conf_items *)(void *)(t->base + row->offset), e);
    if (token->kind != CONF_TOKEN_SCALAR)
        return conf_reader_fail(r, token->line, e, "'%s' is one value, not a mapping or a list", row->key);
    struct err why = {0};
    const enum err_code code = store(row, t->base, token->text, &why);
    return code == ERR_OK ? ERR_OK : conf_reader_fail(r, token->line, e, "%s", why.note);
}

static enum err_code read_file(struct conf_reader *r, const struct conf_row *rows, void *config,
                               struct err *e)
{
    struct target t = {.rows = rows, .base = config, .line = 1};
    TRY(check_rows(rows, e));
    struct conf_token token;
    TRY(conf_reader_next(r, &token, e));
    if (token.kind == CONF_TOKEN_MAP)
        TRY(read_mapping(r, &t, "", e));
    else if (token.kind != CONF_TOKEN_END && !(token.kind == CONF_TOKEN_SCALAR && token.text[0] == '\0'))
        return conf_reader_fail(r, token.line, e, "a configuration is a mapping: lines of 'key: value'");
    if (token.kind != CONF_TOKEN_END)
        TRY(conf_reader_next(r, &token, e)); /* finds what stands behind the document */
    return finish(r, &t, e);
}

enum err_code conf_parse(const char *name, const char *text, size_t len, const struct conf_row *rows,
                         void *config, struct err *e)
{
    AUTO(conf_reader) reader = {0};
    TRY(conf_reader_init(&reader, name, text, len, e));
    const enum err_code code = read_file(&reader, rows, config, e);
    if (code != ERR_OK)
        conf_drop(rows, config);
    return code;
}

static enum err_code load_text(FILE *file, const char *path, char *text, size_t *out_len, struct err *e)
{
    const size_t len = fread(text, 1, CONF_MAX_BYTES + 1, file);
    if (ferror(file))
        return err_errno(e, "%s", path);
    *out_len = len;
    return ERR_OK;
}

enum err_code conf_load(const char *path, const struct conf_row *rows, void *config, struct err *e)
{
    if (path == NULL)
        return conf_parse("no configuration file", "", 0, rows, config, e);
    FILE *const file = fopen(path, "re");
    if (file == NULL)
        return err_errno(e, "%s", path);
    char *const text = malloc(CONF_MAX_BYTES + 1);
    size_t len = 0;
    enum err_code code = text != NULL ? load_text(file, path, text, &len, e)
                                      : err_set(e, ERR_INTERNAL, "no memory for %s", path);
    if (code == ERR_OK)
        code = conf_parse(path, text, len, rows, config, e);
    free(text);
    (void)fclose(file);
    return code;
}

static void drop_items(const struct conf_row *row, struct conf_items *items)
{
    for (size_t i = 0; i < items->count; i++)
        conf_drop(row->list->rows, (char *)items->items + i * row->list->item_bytes);
    free(items->items);
    *items = (struct conf_items){0};
}

void conf_drop(const struct conf_row *rows, void *config)
{
    char *const base = config;
    for (const struct conf_row *row = rows; row->key != NULL; row++) {
        void *const field = base + row->offset;
        if (row->type == CONF_LIST) {
            drop_items(row, field);
        } else if (row->type == CONF_STRING) {
            free(*(char **)field);
            *(char **)field = NULL;
        }
    }
}
