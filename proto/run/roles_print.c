#include "run/roles_inside.h"

#include <string.h>

static void print_names(const char *label, bool all, const struct roles_names *names, FILE *out)
{
    fprintf(out, "  %-10s %s", label, all ? "all" : names->count == 0 ? "none" : "");
    for (size_t i = 0; !all && i < names->count; i++)
        fprintf(out, "%s%s", i > 0 ? ", " : "", names->items[i]);
    fputc('\n', out);
}

static void print_rights(const struct roles_right *rights, const struct roles_holder *h, FILE *out)
{
    const char *between = "";
    fprintf(out, "  %-10s %s", "may", h->rights == 0 ? "none" : "");
    for (const struct roles_right *right = rights; right->name != NULL; right++)
        if (h->rights & right->bit) {
            fprintf(out, "%s%s", between, right->name);
            between = ", ";
        }
    fprintf(out, "%s\n", h->defaults && h->rights != 0 ? " (default)" : "");
}

static const char *name_of(const struct roles_holder *h)
{
    return h->identity != NULL ? h->identity : "every caller (tls.insecure)";
}

static void print_with_rights(const struct roles_right *rights, const struct roles_holder *h, FILE *out)
{
    char names[ROLE_NAMES_BYTES];
    roles_name(h->roles, names);
    fprintf(out, "%s\n  %-10s %s\n", name_of(h), "roles", names);
    print_rights(rights, h, out);
    print_names("zones", h->all_zones, &h->zones, out);
    print_names("pin_pairs", h->all_pin_pairs, &h->pin_pairs, out);
}

void roles_print_holders(const struct roles_right *rights, const struct roles_holder *holders, size_t count,
                         FILE *out)
{
    size_t width = 0;
    for (size_t i = 0; i < count; i++)
        width = strlen(name_of(&holders[i])) > width ? strlen(name_of(&holders[i])) : width;
    for (size_t i = 0; i < count; i++) {
        char names[ROLE_NAMES_BYTES];
        roles_name(holders[i].roles, names);
        if (rights != NULL)
            print_with_rights(rights, &holders[i], out);
        else
            fprintf(out, "%-*s  %s\n", (int)width, name_of(&holders[i]), names);
    }
}
