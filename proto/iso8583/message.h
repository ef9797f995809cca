/* One ISO 8583 message in memory: message type and fields 2-64 of a dialect.
 *
 *   AUTO(iso_message) m;
 *   iso_message_init(&m, &iso_unionpay);
 *   TRY(iso_set_mti(&m, "0210", e));
 *   TRY(iso_set_text(&m, 39, "00", e));
 *   TRY(iso_pack(&m, wire, sizeof wire, &wire_len, e));
 *
 * Values: digits and tracks as text ('D' separates a track; '=' is taken too), text as text, the rest as
 * bytes. A setter copies, checks against the dictionary and fails with ERR_INPUT and a note that names field
 * and limit; the message is unchanged then. Values hold card data: drop wipes. One owner, one thread. 8.6 KB:
 * no heap. */
#ifndef POSWARD_ISO8583_MESSAGE_H
#define POSWARD_ISO8583_MESSAGE_H

#include "base/err.h"
#include "iso8583/dictionary.h"

#include <stdbool.h>
#include <stdint.h>

#define ISO_VALUES_BYTES 8192 /* every field at its longest, each with a NUL */

struct iso_value {
    uint16_t at, len;
    bool present;
};

struct iso_message {
    const struct iso_dialect *dialect;
    char mti[5];
    size_t used;
    struct iso_value fields[ISO_FIELD_LAST + 1];
    uint8_t values[ISO_VALUES_BYTES];
};

void iso_message_init(struct iso_message *m, const struct iso_dialect *dialect);
/* Wipe; the dialect stays, so that the message can be filled again. */
void iso_message_drop(struct iso_message *m);

/* Four digits. */
enum err_code iso_set_mti(struct iso_message *m, const char *mti, struct err *e) MUST_CHECK;
/* Whether messages of this type are requests or advices, which are answered: the third of four digits is
 * even. False for what is no type. */
bool iso_is_request(const char *mti);
/* Fixed fields must have their exact length. ISO_BYTES fields take text as it is. */
enum err_code iso_set_text(struct iso_message *m, unsigned field, const char *text, struct err *e) MUST_CHECK;
enum err_code iso_set_bytes(struct iso_message *m, unsigned field, const void *bytes, size_t len,
                            struct err *e) MUST_CHECK;
/* Decimal, zero-padded on the left to a fixed ISO_DIGITS field's length. */
enum err_code iso_set_number(struct iso_message *m, unsigned field, uint64_t number,
                             struct err *e) MUST_CHECK;
/* Copy a field that `from` has; nothing happens when it has not. */
enum err_code iso_copy_field(struct iso_message *m, const struct iso_message *from, unsigned field,
                             struct err *e) MUST_CHECK;
void iso_clear(struct iso_message *m, unsigned field);

bool iso_has(const struct iso_message *m, unsigned field);
/* NUL-terminated, valid until the message changes. NULL when absent, or when an ISO_BYTES field is not
 * printable. */
const char *iso_text(const struct iso_message *m, unsigned field);
/* The value of any kind of field as it is in memory; NULL when absent. */
const uint8_t *iso_view_bytes(const struct iso_message *m, unsigned field, size_t *out_len);
/* A field of at most 18 digits. ERR_NOT_FOUND absent; ERR_INPUT not a number. */
enum err_code iso_number(const struct iso_message *m, unsigned field, uint64_t *out_number,
                         struct err *e) MUST_CHECK;
/* ERR_INPUT naming the first field of `fields` (ends with 0) that the message lacks. */
enum err_code iso_require(const struct iso_message *m, const uint8_t *fields, struct err *e) MUST_CHECK;

#endif
