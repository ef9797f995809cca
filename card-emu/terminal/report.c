#include "card-emu/terminal/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_json(const char *step, const char *result, const struct log_field *fields)
{
    json_t *object = json_pack("{s:s,s:s}", "step", step, "result", result);
    for (const struct log_field *f = fields; f->name != NULL; f++)
        json_object_set_new(object, f->name,
                            f->text != NULL ? json_string(f->text) : json_integer(f->number));
    char *text = json_dumps(object, JSON_COMPACT);
    puts(text != NULL ? text : "{\"result\":\"out of memory\"}");
    free(text);
    json_decref(object);
}

static void write_line(const char *step, const char *result, const struct log_field *fields)
{
    printf("%s: %s", step, result);
    for (const struct log_field *f = fields; f->name != NULL; f++) {
        printf("%s%s ", f == fields ? " (" : ", ", f->name);
        if (f->text != NULL)
            fputs(f->text, stdout);
        else
            printf("%" PRId64, f->number);
    }
    puts(fields->name != NULL ? ")" : "");
}

void report_write(bool json, const char *step, const char *result, const struct log_field *fields)
{
    if (json)
        write_json(step, result, fields);
    else
        write_line(step, result, fields);
    fflush(stdout);
}

const char *report_code_text(const char *f39)
{
    static const struct {
        char code[3];
        const char *text;
    } rows[] = {
        {"00", "approved"},
        {"03", "unknown merchant"},
        {"12", "invalid transaction"},
        {"13", "invalid amount"},
        {"14", "invalid card"},
        {"25", "original not found"},
        {"30", "format error"},
        {"51", "insufficient funds"},
        {"55", "wrong PIN"},
        {"57", "not permitted to this card"},
        {"58", "not permitted at this terminal"},
        {"68", "time-out, try again"},
        {"75", "too many PIN entries; wait"},
        {"77", "batch mismatch, sign in again"},
        {"90", "line busy, try again"},
        {"91", "issuer not reachable"},
        {"92", "line to the issuer failed"},
        {"94", "duplicate message"},
        {"96", "centre fault, try again"},
        {"97", "terminal not registered"},
        {"98", "no answer from the issuer"},
        {"99", "PIN format error, sign in again"},
        {"A0", "MAC error, sign in again"},
        {"A7", "security failure at the centre, sign in again"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].code, f39) == 0)
            return rows[i].text;
    }
    return "declined";
}
