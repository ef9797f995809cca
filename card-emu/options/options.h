/* Command lines of the emulators: rows say what an option is, where its value goes and what its help says.
 *
 * `--name VALUE`, `--name=VALUE`; an option of OPTION_LIST takes every following word up to the next option.
 * Values are borrowed from argv. Main thread. */
#ifndef POSWARD_CARD_EMU_OPTIONS_H
#define POSWARD_CARD_EMU_OPTIONS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define OPTION_LIST_MAX 9

/* OPTION_WORD takes the one word that is no option: a command. */
enum option_type { OPTION_TEXT, OPTION_NUMBER, OPTION_FLAG, OPTION_LIST, OPTION_WORD };

struct option_list {
    const char *items[OPTION_LIST_MAX];
    size_t count;
};

/* OPTION_TEXT and OPTION_WORD: const char *, OPTION_NUMBER: int64_t, OPTION_FLAG: bool, OPTION_LIST: struct
 * option_list. */
struct option_row {
    const char *name;  /* "psam-number", without dashes; ends with a row without a name */
    const char *value; /* "N" in the help; NULL for a flag */
    enum option_type type;
    size_t offset;
    const char *fallback; /* NULL: none */
    bool required;
    const char *help;
};

/* Fill *options (zeroed) from argv[first..]. ERR_INPUT with what to write instead. `--help` sets *out_help
 * and stops. */
enum err_code options_parse(const struct option_row *rows, int argc, char **argv, int first, void *options,
                            bool *out_help, struct err *e) MUST_CHECK;
void options_print(const struct option_row *rows, FILE *out);

#endif
