/* Responses for people: "name: value" lines, and a table for each repeated message. */
#include "base/clock.h"
#include "rpc/field.h"
#include "rpc/json.h"
#include "run/cli_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS  32
#define MAX_NESTING  8               /* of messages that are printed as dotted names */
#define TIME_FROM_MS 1000000000000LL /* a larger ..._ms is a point in time, a smaller one a span */

/* What a peer sends must not drive the terminal. */
static void print_safe(const char *text, FILE *out)
{
    for (const unsigned char *c = (const unsigned char *)(text != NULL ? text : ""); *c != '\0'; c++) {
        if (*c < 0x20 || *c >= 0x7F)
            fprintf(out, "\\x%02x", *c);
        else
            fputc(*c, out);
    }
}

static void print_bytes(const ProtobufCBinaryData *bytes, FILE *out)
{
    for (size_t i = 0; i < bytes->len; i++)
        fprintf(out, "%02X", bytes->data[i]);
}

static void print_enum(const ProtobufCEnumDescriptor *descriptor, int number, FILE *out)
{
    const ProtobufCEnumValue *const value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    if (value == NULL) {
        fprintf(out, "%d", number);
        return;
    }
    char name[CLI_ENUM_BYTES];
    cli_enum_short(descriptor, value, name);
    fputs(name, out);
}

/* created_ms, at_ms, expires_ms, local_time_ms: points in time, of which 0 is none. retry_ms is a span. */
static bool names_a_point(const char *name)
{
    static const char *const ends[] = {"ed_ms", "at_ms", "expires_ms", "time_ms"};
    const size_t len = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (len >= strlen(ends[i]) && strcmp(name + len - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

static void print_signed(const ProtobufCFieldDescriptor *field, int64_t number, FILE *out)
{
    const size_t len = strlen(field->name);
    if (number == 0 && names_a_point(field->name)) {
        fputc('-', out);
        return;
    }
    if (number < TIME_FROM_MS || len < 3 || strcmp(field->name + len - 3, "_ms") != 0) {
        fprintf(out, "%lld", (long long)number);
        return;
    }
    char text[CLOCK_TEXT_BYTES];
    clock_text(number, text);
    fputs(text, out);
}

static void print_inner(const ProtobufCMessage *message, FILE *out)
{
    struct err e = {0};
    json_t *json = NULL;
    if (message == NULL || rpc_json_from_message(message, false, &json, &e) != ERR_OK)
        return;
    char *const text = json_dumps(json, JSON_COMPACT);
    print_safe(text, out);
    free(text);
    json_decref(json);
}

static void print_value(const ProtobufCFieldDescriptor *field, const void *value, FILE *out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        fprintf(out, "%d", *(const int32_t *)value);
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        fprintf(out, "%u", *(const uint32_t *)value);
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        print_signed(field, *(const int64_t *)value, out);
        return;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)value);
        return;
    case PROTOBUF_C_TYPE_FLOAT:
        fprintf(out, "%g", (double)*(const float *)value);
        return;
    case PROTOBUF_C_TYPE_DOUBLE:
        fprintf(out, "%g", *(const double *)value);
        return;
    case PROTOBUF_C_TYPE_BOOL:
        fputs(*(const protobuf_c_boolean *)value ? "true" : "false", out);
        return;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(field->descriptor, *(const int *)value, out);
        return;
    case PROTOBUF_C_TYPE_STRING:
        print_safe(*(char *const *)value, out);
        return;
    case PROTOBUF_C_TYPE_BYTES:
        print_bytes(value, out);
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        print_inner(*(ProtobufCMessage *const *)value, out);
        return;
    }
}

/* Fields that have no value at all, as against one at its default: unset members of a oneof, absent messages.
 */
static bool is_absent(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return rpc_field_count(message, field) == 0 &&
           (rpc_field_in_oneof(field) || field->type == PROTOBUF_C_TYPE_MESSAGE ||
            field->label == PROTOBUF_C_LABEL_OPTIONAL || field->label == PROTOBUF_C_LABEL_REPEATED);
}

static void print_values(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, FILE *out)
{
    if (is_absent(message, field))
        return;
    const size_t count = field->label == PROTOBUF_C_LABEL_REPEATED ? rpc_field_count(message, field) : 1;
    for (size_t i = 0; i < count; i++) {
        fputs(i > 0 ? ", " : "", out);
        print_value(field, rpc_field_at(message, field, i), out);
    }
}

/* The text of a cell or a line; NULL: no memory. Freed with free. */
static char *text_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    char *text = NULL;
    size_t len = 0;
    FILE *const out = open_memstream(&text, &len);
    if (out == NULL)
        return NULL;
    print_values(message, field, out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

struct table {
    const ProtobufCMessageDescriptor *rows_type;
    size_t row_count, column_count;
    char **cells; /* row by row */
};

static void table_drop(struct table *t)
{
    for (size_t i = 0; t->cells != NULL && i < t->row_count * t->column_count; i++)
        free(t->cells[i]);
    free(t->cells);
}

static const char *cell(const struct table *t, size_t row, size_t column)
{
    const char *const text = t->cells[row * t->column_count + column];
    return text != NULL ? text : "";
}

static size_t column_width(const struct table *t, size_t column)
{
    size_t width = 0;
    for (size_t row = 0; row < t->row_count; row++) {
        const size_t len = strlen(cell(t, row, column));
        width = len > width ? len : width;
    }
    return width;
}

static void print_padded(const char *text, size_t width, bool last, bool upper, FILE *out)
{
    for (const char *c = text; *c != '\0'; c++)
        fputc(upper ? toupper((unsigned char)*c) : *c, out);
    for (size_t n = strlen(text); !last && n < width + 2; n++)
        fputc(' ', out);
}

/* A column without a single value is left out, so that wide messages fit a terminal. */
static void print_table(const struct table *t, const char *indent, FILE *out)
{
    size_t widths[MAX_COLUMNS], last = 0;
    for (size_t c = 0; c < t->column_count; c++) {
        const size_t name = strlen(t->rows_type->fields[c].name), width = column_width(t, c);
        widths[c] = width == 0 && t->row_count > 0 ? 0 : name > width ? name : width;
        last = widths[c] > 0 ? c : last;
    }
    for (size_t row = 0; row <= t->row_count; row++) {
        fputs(indent, out);
        for (size_t c = 0; c < t->column_count; c++) {
            if (widths[c] == 0)
                continue;
            const char *const text = row == 0 ? t->rows_type->fields[c].name : cell(t, row - 1, c);
            print_padded(text, widths[c], c == last, row == 0, out);
        }
        fputc('\n', out);
    }
}

static enum err_code fill_table(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                                struct table *t, struct err *e)
{
    const size_t count = t->row_count * t->column_count;
    t->cells = calloc(count + 1, sizeof(char *));
    if (t->cells == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for a table");
    for (size_t i = 0; i < count; i++) {
        const ProtobufCMessage *const row =
            *(ProtobufCMessage *const *)rpc_field_at(message, field, i / t->column_count);
        t->cells[i] = text_of(row, &t->rows_type->fields[i % t->column_count]);
        if (t->cells[i] == NULL)
            return err_set(e, ERR_INTERNAL, "no memory for a table");
    }
    return ERR_OK;
}

static enum err_code print_rows(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                                const char *indent, FILE *out, struct err *e)
{
    const ProtobufCMessageDescriptor *const type = field->descriptor;
    struct table t = {.rows_type = type,
                      .row_count = rpc_field_count(message, field),
                      .column_count = type->n_fields < MAX_COLUMNS ? type->n_fields : MAX_COLUMNS};
    const enum err_code code = fill_table(message, field, &t, e);
    if (code == ERR_OK)
        print_table(&t, indent, out);
    table_drop(&t);
    return code;
}

static bool is_table(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE && field->label == PROTOBUF_C_LABEL_REPEATED;
}

static enum err_code print_line(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                                const char *prefix, FILE *out, struct err *e)
{
    char *const text = text_of(message, field);
    if (text == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for a line");
    if (text[0] != '\0')
        fprintf(out, "%s%s: %s\n", prefix, field->name, text);
    free(text);
    return ERR_OK;
}

/* Values of the message and of messages in it, under dotted names. `prefix` begins with the indent. */
static enum err_code print_lines(const ProtobufCMessage *message, const char *prefix, unsigned level,
                                 FILE *out, struct err *e)
{
    const ProtobufCMessageDescriptor *const d = message->descriptor;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *const field = &d->fields[i];
        if (is_absent(message, field) || (level == 0 && is_table(field)))
            continue;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE || is_table(field) || level == MAX_NESTING) {
            TRY(print_line(message, field, prefix, out, e));
            continue;
        }
        char inner[256];
        snprintf(inner, sizeof inner, "%s%s.", prefix, field->name);
        TRY(print_lines(*(ProtobufCMessage *const *)rpc_field_at(message, field, 0), inner, level + 1, out,
                        e));
    }
    return ERR_OK;
}

enum err_code cli_print_text(const ProtobufCMessage *message, const char *indent, FILE *out, struct err *e)
{
    const ProtobufCMessageDescriptor *const d = message->descriptor;
    unsigned tables = 0;
    for (unsigned i = 0; i < d->n_fields; i++)
        tables += is_table(&d->fields[i]) ? 1 : 0;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *const field = &d->fields[i];
        if (!is_table(field))
            continue;
        if (tables > 1)
            fprintf(out, "%s%s:\n", indent, field->name);
        TRY(print_rows(message, field, indent, out, e));
    }
    return print_lines(message, indent, 0, out, e);
}

enum err_code cli_print_json(const ProtobufCMessage *message, bool one_line, FILE *out, struct err *e)
{
    json_t *json = NULL;
    TRY(rpc_json_from_message(message, true, &json, e));
    const int failed = json_dumpf(json, out, one_line ? JSON_COMPACT : JSON_INDENT(2));
    json_decref(json);
    if (failed != 0)
        return err_errno(e, "standard output");
    fputc('\n', out);
    return ERR_OK;
}

enum err_code cli_print(struct cli *cli, const ProtobufCMessage *message, struct err *e)
{
    return cli->json ? cli_print_json(message, false, stdout, e) : cli_print_text(message, "", stdout, e);
}
