#include "base/conf_yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_SHOWN 60

enum err_code conf_reader_init(struct conf_reader *r, const char *name, const char *text, size_t len,
                               struct err *e)
{
    memset(r, 0, sizeof *r);
    if (len > CONF_MAX_BYTES)
        return err_set(e, ERR_LIMIT, "%s: %zu bytes; a configuration has at most %d", name, len,
                       CONF_MAX_BYTES);
    if (!yaml_parser_initialize(&r->parser))
        return err_set(e, ERR_INTERNAL, "no memory for the YAML parser");
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
    r->name = name;
    return ERR_OK;
}

void conf_reader_drop(struct conf_reader *r)
{
    if (r->event_held)
        yaml_event_delete(&r->event);
    if (r->name != NULL)
        yaml_parser_delete(&r->parser);
    memset(r, 0, sizeof *r);
}

enum err_code conf_reader_fail(const struct conf_reader *r, size_t line, struct err *e, const char *format,
                               ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const size_t name_len = strlen(r->name);
    const char *const shown = name_len > NAME_SHOWN ? r->name + name_len - NAME_SHOWN : r->name;
    return err_set(e, ERR_INPUT, "%s:%zu: %s", shown, line, text);
}

static enum err_code next_event(struct conf_reader *r, struct err *e)
{
    if (r->event_held)
        yaml_event_delete(&r->event);
    r->event_held = false;
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        const char *const problem = r->parser.problem != NULL ? r->parser.problem : "no YAML";
        return conf_reader_fail(r, r->parser.problem_mark.line + 1, e, "%s", problem);
    }
    r->event_held = true;
    return ERR_OK;
}

static enum err_code enter(struct conf_reader *r, enum conf_token_kind kind, bool marked,
                           struct conf_token *token, struct err *e)
{
    if (marked)
        return conf_reader_fail(r, token->line, e, "anchors and tags are not accepted");
    if (++r->depth > CONF_MAX_DEPTH)
        return conf_reader_fail(r, token->line, e, "more than %d levels deep", CONF_MAX_DEPTH);
    token->kind = kind;
    return ERR_OK;
}

static enum err_code take_scalar(struct conf_reader *r, struct conf_token *token, struct err *e)
{
    const char *const anchor = (const char *)r->event.data.scalar.anchor;
    const char *const tag = (const char *)r->event.data.scalar.tag;
    if (anchor != NULL || tag != NULL)
        return conf_reader_fail(r, token->line, e, "anchors and tags are not accepted");
    char *const text = (char *)r->event.data.scalar.value;
    if (strlen(text) != r->event.data.scalar.length)
        return conf_reader_fail(r, token->line, e, "a value holds a NUL character");
    if (r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
        (strcmp(text, "~") == 0 || strcmp(text, "null") == 0))
        text[0] = '\0';
    token->kind = CONF_TOKEN_SCALAR;
    token->text = text;
    return ERR_OK;
}

/* *out_more is set when the event carries nothing for the caller. */
static enum err_code take_event(struct conf_reader *r, struct conf_token *token, bool *out_more,
                                struct err *e)
{
    const yaml_event_t *const event = &r->event;
    token->line = event->start_mark.line + 1;
    switch (event->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        *out_more = true;
        return ERR_OK;
    case YAML_DOCUMENT_START_EVENT:
        if (r->depth != 0)
            return conf_reader_fail(r, token->line, e, "a second document begins; a configuration is one");
        r->depth++;
        *out_more = true;
        return ERR_OK;
    case YAML_STREAM_END_EVENT:
        token->kind = CONF_TOKEN_END;
        return ERR_OK;
    case YAML_ALIAS_EVENT:
        return conf_reader_fail(r, token->line, e, "aliases are not accepted");
    case YAML_SCALAR_EVENT:
        return take_scalar(r, token, e);
    case YAML_MAPPING_START_EVENT:
        return enter(r, CONF_TOKEN_MAP, event->data.mapping_start.anchor || event->data.mapping_start.tag,
                     token, e);
    case YAML_SEQUENCE_START_EVENT:
        return enter(r, CONF_TOKEN_SEQUENCE,
                     event->data.sequence_start.anchor || event->data.sequence_start.tag, token, e);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        r->depth--;
        token->kind = event->type == YAML_MAPPING_END_EVENT ? CONF_TOKEN_MAP_END : CONF_TOKEN_SEQUENCE_END;
        return ERR_OK;
    }
    return err_set(e, ERR_INTERNAL, "YAML event %d", (int)event->type);
}

enum err_code conf_reader_next(struct conf_reader *r, struct conf_token *out_token, struct err *e)
{
    struct conf_token token = {.kind = CONF_TOKEN_END};
    bool more;
    do {
        more = false;
        TRY(next_event(r, e));
        TRY(take_event(r, &token, &more, e));
    } while (more);
    *out_token = token;
    return ERR_OK;
}
