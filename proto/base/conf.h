/* Configuration: a YAML file into a struct, by rows.
 *
 * One row a key; keys are dotted paths ("listen.address"). A key that no row names or that stands twice, a
 * wrong type and a number out of range are ERR_INPUT with "file:line: ..." and, for a misspelt key, the
 * nearest name. A section whose keys were renamed is read by its old keys or its new ones, not by both. The
 * same rows print the help. Of YAML: mappings, sequences and scalars; no anchors, aliases
 * or tags. At most 1 MiB. */
#ifndef POSWARD_BASE_CONF_H
#define POSWARD_BASE_CONF_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CONF_MAX_ITEMS 4096 /* of a list whose row gives no other limit */
#define CONF_MAX_ROWS  128  /* of one row table */

enum conf_type {
    CONF_STRING, /* char *, owned by the struct, NULL when absent and without fallback; "" when it is null */
    CONF_INT,    /* int64_t, within least..most (both 0: any) */
    CONF_BOOL,   /* bool: true or false */
    CONF_LIST    /* struct conf_items, each item a struct by the rows of `list`. A single row with the key ""
                  * makes it a list of plain values: [a, b]. Lists may hold lists. */
};

struct conf_items {
    void *items; /* count structs of list->item_bytes each */
    size_t count;
    bool given; /* the file has the list, be it empty: [] is not the same as none where absence has a meaning
                 */
};

struct conf_list;

struct conf_row {
    const char *key;
    const char *formerly; /* its key in files of before: still read, with a warning; NULL: none */
    enum conf_type type;
    size_t offset;        /* of the field in the struct */
    const char *fallback; /* as it would stand in the file; NULL: none */
    int64_t least, most;  /* CONF_INT; CONF_LIST: most items, 0: CONF_MAX_ITEMS */
    bool required;        /* and, for a string, not empty */
    const char *help;
    const struct conf_list *list;
};

struct conf_list {
    const struct conf_row *rows; /* ends with a row without a key */
    size_t item_bytes;
};

#define CONF_END                                                                                             \
    {                                                                                                        \
        .key = NULL                                                                                          \
    }

/* Fill *config (zeroed by the caller) from `path` (NULL: fallbacks only). On failure conf_drop has been done.
 */
enum err_code conf_load(const char *path, const struct conf_row *rows, void *config,
                        struct err *e) MUST_CHECK;
/* The same from text; `name` stands in errors. */
enum err_code conf_parse(const char *name, const char *text, size_t len, const struct conf_row *rows,
                         void *config, struct err *e) MUST_CHECK;
/* Free strings and lists. Accepts a zeroed struct. */
void conf_drop(const struct conf_row *rows, void *config);
/* One paragraph a key: name, type, fallback, help. */
void conf_print_help(const struct conf_row *rows, FILE *out);

#endif
