#include "run/roles_inside.h"

#include <string.h>

#define WIDTH  100
#define INDENT 13

/* A line "  label      one, two", broken where it gets too long. */
struct line {
    FILE *out;
    size_t column;
    size_t words;
};

static struct line line_begin(const char *label, FILE *out)
{
    fprintf(out, "  %-*s", INDENT - 2, label);
    return (struct line){.out = out, .column = INDENT};
}

static void line_add(struct line *l, const char *word)
{
    const size_t len = strlen(word);
    const bool breaks = l->words > 0 && l->column + len + 3 > WIDTH; /* ", " before, "," behind */
    if (breaks) {
        fprintf(l->out, ",\n%*s%s", INDENT, "", word);
        l->column = INDENT + len;
    } else {
        l->column += (size_t)fprintf(l->out, "%s%s", l->words > 0 ? ", " : "", word);
    }
    l->words++;
}

static void line_end(const struct line *l, const char *note)
{
    fprintf(l->out, "%s%s\n", l->words > 0 ? "" : "none", note);
}

static void print_names(const char *label, bool all, const struct roles_names *names, FILE *out)
{
    struct line line = line_begin(label, out);
    if (all)
        line_add(&line, "all");
    for (size_t i = 0; !all && i < names->count; i++)
        line_add(&line, names->items[i]);
    line_end(&line, "");
}

static void print_rights(const struct roles_right *rights, const struct roles_holder *h, FILE *out)
{
    struct line line = line_begin("may", out);
    for (const struct roles_right *right = rights; right->name != NULL; right++)
        if (h->rights & right->bit)
            line_add(&line, right->name);
    line_end(&line, h->defaults && h->rights != 0 ? " (default)" : "");
}

static const char *name_of(const struct roles_holder *h)
{
    return h->identity != NULL ? h->identity : "every caller (tls.insecure)";
}

static void print_with_rights(const struct roles_right *rights, const struct roles_holder *h, FILE *out)
{
    char names[ROLE_NAMES_BYTES];
    roles_name(h->roles, names);
    fprintf(out, "%s\n", name_of(h));
    struct line line = line_begin("roles", out);
    line_add(&line, names);
    line_end(&line, "");
    print_rights(rights, h, out);
    print_names("zones", h->all_zones, &h->zones, out);
    print_names("pin_pairs", h->all_pin_pairs, &h->pin_pairs, out);
}

static size_t widest(const struct roles_holder *holders, size_t count)
{
    size_t width = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t len = strlen(name_of(&holders[i]));
        width = len > width ? len : width;
    }
    return width;
}

void roles_print_holders(const struct roles_right *rights, const struct roles_holder *holders, size_t count,
                         FILE *out)
{
    const int width = (int)widest(holders, count);
    for (size_t i = 0; i < count; i++) {
        char names[ROLE_NAMES_BYTES];
        roles_name(holders[i].roles, names);
        if (rights != NULL)
            print_with_rights(rights, &holders[i], out);
        else
            fprintf(out, "%-*s  %s\n", width, name_of(&holders[i]), names);
    }
}
