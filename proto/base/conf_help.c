#include "base/conf.h"

#include <string.h>

#define WIDTH      100
#define INDENT     "    "
#define MAX_LEVELS 4 /* lists in lists */

static void print_wrapped(const char *text, const char *indent, FILE *out)
{
    size_t column = 0;
    while (*text != '\0') {
        const size_t len = strcspn(text, " ");
        if (column > 0 && column + 1 + len > WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        column += (size_t)fprintf(out, "%s%.*s", column == 0 ? indent : " ", (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static const char *type_name(const struct conf_row *row)
{
    static const char *const names[] = {
        [CONF_STRING] = "text", [CONF_INT] = "number", [CONF_BOOL] = "true or false", [CONF_LIST] = "list"};
    return names[row->type];
}

static void print_row(const struct conf_row *row, const char *prefix, const char *indent, FILE *out)
{
    fprintf(out, "%s%s  (%s", prefix, row->key, type_name(row));
    if (row->type == CONF_INT && (row->least != 0 || row->most != 0))
        fprintf(out, " within %lld and %lld", (long long)row->least, (long long)row->most);
    if (row->required)
        fputs(", required", out);
    else if (row->fallback != NULL)
        fprintf(out, ", default %s", row->fallback[0] != '\0' ? row->fallback : "empty");
    if (row->formerly != NULL)
        fprintf(out, ", formerly %s", row->formerly);
    fputs(")\n", out);
    if (row->help != NULL)
        print_wrapped(row->help, indent, out);
}

static void print_rows(const struct conf_row *rows, const char *prefix, unsigned level, FILE *out)
{
    for (const struct conf_row *row = rows; row->key != NULL; row++) {
        if (row->key[0] == '\0')
            continue; /* the plain values of a list: its own row has said all */
        print_row(row, prefix, INDENT, out);
        if (row->type != CONF_LIST || level == MAX_LEVELS)
            continue;
        char inner[256];
        snprintf(inner, sizeof inner, "%s%s[].", prefix, row->key);
        print_rows(row->list->rows, inner, level + 1, out);
    }
}

void conf_print_help(const struct conf_row *rows, FILE *out)
{
    print_rows(rows, "", 1, out);
}
