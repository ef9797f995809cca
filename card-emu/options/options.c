#include "card-emu/options/options.h"

#include "base/hex.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_DIGITS_MAX 15

struct words {
    char **argv;
    int argc, at;
};

static const struct option_row *find(const struct option_row *rows, const char *name, size_t len)
{
    for (; rows->name != NULL; rows++) {
        if (rows->type != OPTION_WORD && strlen(rows->name) == len && strncmp(rows->name, name, len) == 0)
            return rows;
    }
    return NULL;
}

static enum err_code put_number(const struct option_row *row, const char *text, int64_t *out, struct err *e)
{
    const size_t len = strlen(text);
    if (len == 0 || len > NUMBER_DIGITS_MAX || !digits_only(text, len))
        return err_set(e, ERR_INPUT, "--%s needs a number, not \"%.40s\"", row->name, text);
    *out = strtoll(text, NULL, 10);
    return ERR_OK;
}

static enum err_code put(const struct option_row *row, const char *text, void *options, struct err *e)
{
    void *field = (char *)options + row->offset;
    struct option_list *list = field;
    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_WORD:
        *(const char **)field = text;
        return ERR_OK;
    case OPTION_NUMBER:
        return put_number(row, text, field, e);
    case OPTION_FLAG:
        *(bool *)field = true;
        return ERR_OK;
    case OPTION_LIST:
        if (list->count == OPTION_LIST_MAX)
            return err_set(e, ERR_INPUT, "--%s takes at most %d values", row->name, OPTION_LIST_MAX);
        list->items[list->count++] = text;
        return ERR_OK;
    }
    return ERR_OK;
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] == '-';
}

static enum err_code take_values(const struct option_row *row, const char *inline_value, struct words *w,
                                 void *options, struct err *e)
{
    if (row->type == OPTION_FLAG)
        return inline_value == NULL ? put(row, "", options, e)
                                    : err_set(e, ERR_INPUT, "--%s takes no value", row->name);
    if (inline_value != NULL)
        return put(row, inline_value, options, e);
    if (w->at >= w->argc || is_option(w->argv[w->at]))
        return err_set(e, ERR_INPUT, "--%s needs a value: --%s %s", row->name, row->name, row->value);
    do
        TRY(put(row, w->argv[w->at++], options, e));
    while (row->type == OPTION_LIST && w->at < w->argc && !is_option(w->argv[w->at]));
    return ERR_OK;
}

static bool is_set(const struct option_row *row, const void *options)
{
    const void *field = (const char *)options + row->offset;
    if (row->type == OPTION_LIST)
        return ((const struct option_list *)field)->count > 0;
    return row->type == OPTION_NUMBER || row->type == OPTION_FLAG || *(const char *const *)field != NULL;
}

static enum err_code put_word(const struct option_row *rows, const char *word, void *options, struct err *e)
{
    while (rows->name != NULL && rows->type != OPTION_WORD)
        rows++;
    if (rows->name == NULL || is_set(rows, options))
        return err_set(e, ERR_INPUT, "\"%.40s\" is no option; see --help", word);
    return put(rows, word, options, e);
}

static enum err_code finish(const struct option_row *rows, const void *options, struct err *e)
{
    for (; rows->name != NULL; rows++) {
        if (rows->required && !is_set(rows, options))
            return err_set(e, ERR_INPUT, "%s%s %s is missing: %s", rows->type == OPTION_WORD ? "" : "--",
                           rows->name, rows->value, rows->help);
    }
    return ERR_OK;
}

enum err_code options_parse(const struct option_row *rows, int argc, char **argv, int first, void *options,
                            bool *out_help, struct err *e)
{
    for (const struct option_row *row = rows; row->name != NULL; row++) {
        if (row->fallback != NULL)
            TRY(put(row, row->fallback, options, e));
    }
    struct words w = {.argv = argv, .argc = argc, .at = first};
    while (w.at < argc) {
        const char *word = argv[w.at++];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            *out_help = true;
            return ERR_OK;
        }
        if (!is_option(word)) {
            TRY(put_word(rows, word, options, e));
            continue;
        }
        const char *equals = strchr(word, '=');
        const size_t len = equals != NULL ? (size_t)(equals - word) - 2 : strlen(word) - 2;
        const struct option_row *row = find(rows, word + 2, len);
        if (row == NULL)
            return err_set(e, ERR_INPUT, "unknown option \"%.40s\"; see --help", word);
        TRY(take_values(row, equals != NULL ? equals + 1 : NULL, &w, options, e));
    }
    return finish(rows, options, e);
}

void options_print(const struct option_row *rows, FILE *out)
{
    for (; rows->name != NULL; rows++) {
        char left[64];
        if (rows->type == OPTION_WORD)
            continue;
        snprintf(left, sizeof left, "--%s%s%s%s", rows->name, rows->value != NULL ? " " : "",
                 rows->value != NULL ? rows->value : "", rows->type == OPTION_LIST ? "..." : "");
        fprintf(out, "  %-30s %s", left, rows->help);
        if (rows->fallback != NULL)
            fprintf(out, " [%s]", rows->fallback);
        fprintf(out, "%s\n", rows->required ? " (required)" : "");
    }
}
