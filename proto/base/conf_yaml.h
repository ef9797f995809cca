/* The part of YAML that a configuration needs, as tokens: mappings, sequences, scalars; one document.
 *
 * Anchors, aliases, tags and multiple documents are refused: they make a file say something other than what a
 * reader sees. Internal to conf.c. One thread. */
#ifndef POSWARD_BASE_CONF_YAML_H
#define POSWARD_BASE_CONF_YAML_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <yaml.h>

#define CONF_MAX_BYTES 1048576
#define CONF_MAX_DEPTH 16 /* mappings and sequences within each other */

enum conf_token_kind {
    CONF_TOKEN_SCALAR,
    CONF_TOKEN_MAP,
    CONF_TOKEN_MAP_END,
    CONF_TOKEN_SEQUENCE,
    CONF_TOKEN_SEQUENCE_END,
    CONF_TOKEN_END /* of the file */
};

struct conf_token {
    enum conf_token_kind kind;
    char *text; /* CONF_TOKEN_SCALAR: without NUL inside, "" for null; owned by the reader, until the next
                   token */
    size_t line;
};

struct conf_reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool event_held;
    unsigned depth;
    const char *name; /* of the file, for errors; at most the last 60 characters are shown */
};

/* ERR_LIMIT: the text is longer than CONF_MAX_BYTES. `text` and `name` are borrowed until conf_reader_drop.
 */
enum err_code conf_reader_init(struct conf_reader *r, const char *name, const char *text, size_t len,
                               struct err *e) MUST_CHECK;
void conf_reader_drop(struct conf_reader *r);
/* ERR_INPUT "file:line: what is wrong". */
enum err_code conf_reader_next(struct conf_reader *r, struct conf_token *out_token, struct err *e) MUST_CHECK;
/* err_set with "file:line: " in front. */
enum err_code conf_reader_fail(const struct conf_reader *r, size_t line, struct err *e, const char *format,
                               ...) __attribute__((format(printf, 4, 5)));

#endif
