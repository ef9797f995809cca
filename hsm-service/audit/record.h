/* One record of the audit log: a line of JSON in one canonical form, chained to the one before by SHA-256.
 *
 * {"seq":7,"time":"2026-11-23T21:45:00.123Z","kind":"use","who":"...","what":"...","key":"...","grade":"...",
 * "result":"OK","note":"...","trace":"...","prev":"<64 hex>","hash":"<64 hex>"}
 * hash = SHA-256 of the line up to and with the comma before "hash"; prev is the hash of the record before,
 * 64 zeros for record 1. Any other spelling of the same values is refused, so that every byte counts. No
 * secret may enter a record: no key, PIN, PAN, track or blob. */
#ifndef POSWARD_HSM_SERVICE_AUDIT_RECORD_H
#define POSWARD_HSM_SERVICE_AUDIT_RECORD_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define AUDIT_HASH_BYTES 32
#define AUDIT_LINE_BYTES 2560 /* longest line, with its end; a longer one is no record */
#define AUDIT_TEXT_BYTES 512  /* of a field, escaped, with NUL; what does not fit is cut */
#define AUDIT_WORD_BYTES 40

enum audit_kind {
    AUDIT_SERVICE = 1, /* start, stop, rotation */
    AUDIT_LOGIN,       /* a keeper at the token */
    AUDIT_KEY,         /* a key that is seen, or is not any more */
    AUDIT_REFUSAL,     /* a call that was not let in, or that policy forbids */
    AUDIT_USE,         /* a call that used a key */
    AUDIT_CEREMONY,
    AUDIT_CHECKPOINT, /* signature.h */
    AUDIT_TORN,       /* closes a line that was cut when its writer was killed */
    AUDIT_LOST,       /* records that had no room while the log could not be written */
    AUDIT_KIND_COUNT
};
const char *audit_kind_name(enum audit_kind kind); /* "service", ... */
/* ERR_INPUT lists the kinds. */
enum err_code audit_kind_parse(const char *text, enum audit_kind *out_kind, struct err *e) MUST_CHECK;

/* Texts are in the form that stands in the line: printable ASCII without '"' and '\'; audit_text makes them.
 */
struct audit_record {
    uint64_t seq; /* from 1 */
    int64_t time_ms;
    enum audit_kind kind;
    char who[AUDIT_TEXT_BYTES / 2];  /* identity, "uid:1000" in a ceremony, "service" */
    char what[AUDIT_TEXT_BYTES / 4]; /* method or event */
    char key[AUDIT_TEXT_BYTES];      /* labels with versions */
    char grade[AUDIT_WORD_BYTES];
    char result[AUDIT_WORD_BYTES]; /* "OK" or the error class */
    char note[AUDIT_TEXT_BYTES];
    char trace[AUDIT_WORD_BYTES]; /* W3C trace id */
    uint8_t prev[AUDIT_HASH_BYTES], hash[AUDIT_HASH_BYTES];
};

/* Where a chain stands: its last record. Zeroed: before record 1. */
struct audit_head {
    uint64_t seq;
    uint8_t hash[AUDIT_HASH_BYTES];
};

/* Escape `len` bytes of any text as %XX where needed, and cut at the capacity. */
void audit_text(const char *text, size_t len, char *out_text, size_t capacity);
/* The record's line after `head` into out_line, with its end and a NUL; moves `head` on. seq, prev and hash
 * of `record` are not read. */
void audit_record_format(const struct audit_record *record, struct audit_head *head,
                         char out_line[AUDIT_LINE_BYTES], size_t *out_len);
/* Read a line without its end. ERR_INPUT it is no record; ERR_CHECK its hash is not that of its bytes. */
enum err_code audit_record_parse(const char *line, size_t len, struct audit_record *out_record,
                                 struct err *e) MUST_CHECK;
/* As getline, but at most AUDIT_READ_BYTES of a line: one that is longer comes without its end. The file may
 * be another's. */
#define AUDIT_READ_BYTES 65536
ssize_t audit_read_line(char **line, size_t *capacity, FILE *file);
/* SHA-256. */
void audit_sha256(const void *bytes, size_t len, uint8_t out_hash[AUDIT_HASH_BYTES]);
/* Lower-case hexadecimal and a NUL into out_text[2 * len + 1], and back (lower case only). */
void audit_hex(const uint8_t *bytes, size_t len, char *out_text);
enum err_code audit_unhex(const char *text, size_t bytes, uint8_t *out_bytes, struct err *e) MUST_CHECK;

#endif
