/* ISO 8583 dialects as tables: how each field stands on the wire.
 *
 * A dialect is a base table and the rows in which it differs. Source: facts of the UnionPay POS wire (ISO
 * 8583:1987), confirmed by parsing and repacking published messages byte for byte. Read-only data: any
 * thread. */
#ifndef POSWARD_ISO8583_DICTIONARY_H
#define POSWARD_ISO8583_DICTIONARY_H

#include <stddef.h>
#include <stdint.h>

#define ISO_FIELD_FIRST 2
#define ISO_FIELD_LAST  64 /* a secondary bitmap (field 1) is refused */

enum iso_format {
    ISO_DIGITS, /* decimal digits, two a byte; in memory as text */
    ISO_TRACK,  /* hex digits, two a byte: a track, in which the separator is D and enciphered digits may be
                   A-F */
    ISO_TEXT,   /* printable ASCII */
    ISO_BYTES   /* anything */
};

enum iso_length {
    ISO_FIXED, /* always `max` units */
    ISO_LL,    /* one BCD length byte */
    ISO_LLL    /* two BCD length bytes */
};

enum iso_pad { ISO_PAD_RIGHT, ISO_PAD_LEFT }; /* where an odd number of digits is filled up */

struct iso_field {
    const char *name;
    enum iso_format format;
    enum iso_length length;
    uint16_t max; /* digits for ISO_DIGITS and ISO_TRACK, else bytes; 0: the dialect has no such field */
    enum iso_pad pad;
    uint8_t pad_nibble;
};

struct iso_override {
    uint8_t number;
    struct iso_field field;
};

struct iso_dialect {
    const char *name;
    const struct iso_field *fields; /* ISO_FIELD_LAST + 1 rows, by number */
    const struct iso_override *overrides;
    size_t override_count;
};

extern const struct iso_dialect iso_unionpay;          /* odd digits are padded with 0 */
extern const struct iso_dialect iso_unionpay_f2_pad_f; /* as iso_unionpay, but field 2 is padded with F */

/* All dialects, ends with NULL. */
extern const struct iso_dialect *const iso_dialects[];

/* The row of a field, NULL when the dialect has none. */
const struct iso_field *iso_dialect_field(const struct iso_dialect *d, unsigned number);

#endif
