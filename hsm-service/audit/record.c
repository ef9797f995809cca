#include "hsm-service/audit/record.h"

#include "base/clock.h"
#include "base/hex.h"

#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SEQ_DIGITS_MOST 18

static const char *const kinds[AUDIT_KIND_COUNT] = {
    [AUDIT_SERVICE] = "service",       [AUDIT_LOGIN] = "login", [AUDIT_KEY] = "key",
    [AUDIT_REFUSAL] = "refusal",       [AUDIT_USE] = "use",     [AUDIT_CEREMONY] = "ceremony",
    [AUDIT_CHECKPOINT] = "checkpoint", [AUDIT_TORN] = "torn",   [AUDIT_LOST] = "lost",
};

const char *audit_kind_name(enum audit_kind kind)
{
    return kind > 0 && kind < AUDIT_KIND_COUNT ? kinds[kind] : "";
}

enum err_code audit_kind_parse(const char *text, enum audit_kind *out_kind, struct err *e)
{
    for (int kind = 1; kind < AUDIT_KIND_COUNT; kind++)
        if (strcmp(text, kinds[kind]) == 0) {
            *out_kind = (enum audit_kind)kind;
            return ERR_OK;
        }
    return err_set(e, ERR_INPUT,
                   "'%.20s' is no kind of record; there are service, login, key, refusal, use, ceremony, "
                   "checkpoint, torn and lost",
                   text);
}

void audit_sha256(const void *bytes, size_t len, uint8_t out_hash[AUDIT_HASH_BYTES])
{
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, len, bytes);
    sha256_digest(&context, AUDIT_HASH_BYTES, out_hash);
}

void audit_hex(const uint8_t *bytes, size_t len, char *out_text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out_text[2 * i] = digits[bytes[i] >> 4];
        out_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    out_text[2 * len] = '\0';
}

enum err_code audit_unhex(const char *text, size_t bytes, uint8_t *out_bytes, struct err *e)
{
    for (size_t i = 0; i < 2 * bytes; i++)
        if (hex_digit(text[i]) < 0 || (text[i] >= 'A' && text[i] <= 'F'))
            return err_set(e, ERR_INPUT, "not %zu characters of lower-case hexadecimal", 2 * bytes);
    return hex_decode(text, 2 * bytes, out_bytes, e);
}

static bool stands_in_line(char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

void audit_text(const char *text, size_t len, char *out_text, size_t capacity)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        const bool plain = stands_in_line(text[i]) && text[i] != '%';
        if (n + (plain ? 1 : 3) >= capacity)
            break;
        n += (size_t)snprintf(out_text + n, capacity - n, plain ? "%c" : "%%%02X", (uint8_t)text[i]);
    }
    out_text[n] = '\0';
}

/* The line up to and with the comma before "hash". The fields' sizes leave it shorter than a line. */
static size_t format_body(const struct audit_record *r, uint64_t seq, const uint8_t *prev,
                          char out_line[AUDIT_LINE_BYTES])
{
    char time_text[CLOCK_TEXT_BYTES], prev_text[2 * AUDIT_HASH_BYTES + 1];
    clock_text(r->time_ms, time_text);
    audit_hex(prev, AUDIT_HASH_BYTES, prev_text);
    return (size_t)snprintf(out_line, AUDIT_LINE_BYTES,
                            "{\"seq\":%" PRIu64
                            ",\"time\":\"%s\",\"kind\":\"%s\",\"who\":\"%s\",\"what\":\"%s\","
                            "\"key\":\"%s\",\"grade\":\"%s\",\"result\":\"%s\",\"note\":\"%s\","
                            "\"trace\":\"%s\",\"prev\":\"%s\",",
                            seq, time_text, audit_kind_name(r->kind), r->who, r->what, r->key, r->grade,
                            r->result, r->note, r->trace, prev_text);
}

static size_t format_line(const struct audit_record *r, uint64_t seq, const uint8_t *prev,
                          uint8_t out_hash[AUDIT_HASH_BYTES], char out_line[AUDIT_LINE_BYTES])
{
    char hash_text[2 * AUDIT_HASH_BYTES + 1];
    size_t len = format_body(r, seq, prev, out_line);
    audit_sha256(out_line, len, out_hash);
    audit_hex(out_hash, AUDIT_HASH_BYTES, hash_text);
    return len + (size_t)snprintf(out_line + len, AUDIT_LINE_BYTES - len, "\"hash\":\"%s\"}\n", hash_text);
}

void audit_record_format(const struct audit_record *record, struct audit_head *head,
                         char out_line[AUDIT_LINE_BYTES], size_t *out_len)
{
    uint8_t hash[AUDIT_HASH_BYTES];
    *out_len = format_line(record, head->seq + 1, head->hash, hash, out_line);
    head->seq++;
    memcpy(head->hash, hash, sizeof hash);
}

/* ---- Reading ---- */

struct cursor {
    const char *at, *end;
};

static bool take_literal(struct cursor *c, const char *literal)
{
    const size_t len = strlen(literal);
    if ((size_t)(c->end - c->at) < len || strncmp(c->at, literal, len) != 0)
        return false;
    c->at += len;
    return true;
}

static bool take_number(struct cursor *c, uint64_t *out_number)
{
    uint64_t number = 0;
    unsigned digits = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9' && digits < SEQ_DIGITS_MOST; c->at++, digits++)
        number = 10 * number + (uint64_t)(*c->at - '0');
    *out_number = number;
    return digits > 0;
}

/* "name":"value", */
static bool take_text(struct cursor *c, const char *name, char *out_text, size_t capacity)
{
    size_t n = 0;
    if (!take_literal(c, "\"") || !take_literal(c, name) || !take_literal(c, "\":\""))
        return false;
    for (; c->at < c->end && stands_in_line(*c->at); c->at++) {
        if (n + 1 >= capacity)
            return false;
        out_text[n++] = *c->at;
    }
    out_text[n] = '\0';
    return take_literal(c, "\"");
}

static bool read_time(const char *text, int64_t *out_ms)
{
    struct tm tm = {0};
    int ms = 0, used = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &ms, &used) != 7 ||
        used != CLOCK_TEXT_BYTES - 1)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *out_ms = (int64_t)timegm(&tm) * 1000 + ms;
    return true;
}

static bool take_fields(struct cursor *c, struct audit_record *r)
{
    char time_text[AUDIT_WORD_BYTES], kind[AUDIT_WORD_BYTES], prev[2 * AUDIT_HASH_BYTES + 1];
    struct err ignored = {0};
    return take_literal(c, "{\"seq\":") && take_number(c, &r->seq) && take_literal(c, ",") &&
           take_text(c, "time", time_text, sizeof time_text) && read_time(time_text, &r->time_ms) &&
           take_literal(c, ",") && take_text(c, "kind", kind, sizeof kind) &&
           audit_kind_parse(kind, &r->kind, &ignored) == ERR_OK && take_literal(c, ",") &&
           take_text(c, "who", r->who, sizeof r->who) && take_literal(c, ",") &&
           take_text(c, "what", r->what, sizeof r->what) && take_literal(c, ",") &&
           take_text(c, "key", r->key, sizeof r->key) && take_literal(c, ",") &&
           take_text(c, "grade", r->grade, sizeof r->grade) && take_literal(c, ",") &&
           take_text(c, "result", r->result, sizeof r->result) && take_literal(c, ",") &&
           take_text(c, "note", r->note, sizeof r->note) && take_literal(c, ",") &&
           take_text(c, "trace", r->trace, sizeof r->trace) && take_literal(c, ",") &&
           take_text(c, "prev", prev, sizeof prev) && strlen(prev) == 2 * AUDIT_HASH_BYTES &&
           audit_unhex(prev, AUDIT_HASH_BYTES, r->prev, &ignored) == ERR_OK && take_literal(c, ",");
}

enum err_code audit_record_parse(const char *line, size_t len, struct audit_record *out_record, struct err *e)
{
    struct audit_record r = {0};
    struct cursor c = {line, line + len};
    char again[AUDIT_LINE_BYTES], hash[2 * AUDIT_HASH_BYTES + 1];
    uint8_t computed[AUDIT_HASH_BYTES];
    if (len >= AUDIT_LINE_BYTES || !take_fields(&c, &r))
        return err_set(e, ERR_INPUT, "the line is no audit record");
    if (!take_text(&c, "hash", hash, sizeof hash) || strlen(hash) != 2 * AUDIT_HASH_BYTES ||
        !take_literal(&c, "}") || c.at != c.end || audit_unhex(hash, AUDIT_HASH_BYTES, r.hash, e) != ERR_OK)
        return err_set(e, ERR_INPUT, "the line is no audit record: its end is not");
    const size_t again_len = format_line(&r, r.seq, r.prev, computed, again);
    char computed_text[2 * AUDIT_HASH_BYTES + 1];
    audit_hex(computed, sizeof computed, computed_text);
    if (strcmp(computed_text, hash) != 0)
        return err_set(e, ERR_CHECK, "the hash of record %" PRIu64 " is not that of its bytes", r.seq);
    if (r.seq == 0 || again_len != len + 1 || strncmp(again, line, len) != 0)
        return err_set(e, ERR_INPUT, "the line is not in the form of an audit record");
    *out_record = r;
    return ERR_OK;
}

ssize_t audit_read_line(char **line, size_t *capacity, FILE *file)
{
    size_t len = 0;
    if (*line == NULL) {
        *line = malloc(AUDIT_READ_BYTES + 1);
        *capacity = *line != NULL ? AUDIT_READ_BYTES + 1 : 0;
    }
    if (*line == NULL)
        return -1;
    for (int c; len < AUDIT_READ_BYTES && (c = getc_unlocked(file)) != EOF;) {
        (*line)[len++] = (char)c;
        if (c == '\n')
            break;
    }
    (*line)[len] = '\0';
    return len > 0 ? (ssize_t)len : -1;
}
