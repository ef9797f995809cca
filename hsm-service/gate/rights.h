/* What a caller may do with which keys, beyond the methods of its roles: the configuration's may, zones and
 * pin_pairs.
 *
 * Pure: one operation in, yes or the reason out. Any thread. */
#ifndef POSWARD_HSM_SERVICE_FRONT_RIGHTS_H
#define POSWARD_HSM_SERVICE_FRONT_RIGHTS_H

#include "run/roles.h"

enum rights_bit {
    RIGHT_CARD_KEY = 1 << 0,
    RIGHT_WORKING_KEYS = 1 << 1,
    RIGHT_TRANSACTION = 1 << 2,
    RIGHT_ANSWER_MAC = 1 << 3,
    RIGHT_ANY_MAC = 1 << 4,
    RIGHT_VERIFY_MAC = 1 << 5,
    RIGHT_TRANSLATE_PIN = 1 << 6,
    RIGHT_ENCRYPT_DATA = 1 << 7,
    RIGHT_DECRYPT_DATA = 1 << 8,
    RIGHT_ZONE_MAC = 1 << 9,
    RIGHT_ZONE_DATA = 1 << 10,
    RIGHT_RESEAL = 1 << 11,
    RIGHT_REPORT_USE = 1 << 12
};
extern const struct roles_right rights_table[];

/* One a method or item of a batch; ProcessBatch itself and what is not here need no right. */
enum rights_operation {
    RIGHTS_DIVERSIFY_CARD_KEY,
    RIGHTS_GENERATE_WORKING_KEYS,
    RIGHTS_GENERATE_MAC,
    RIGHTS_VERIFY_MAC,
    RIGHTS_TRANSLATE_PIN,
    RIGHTS_ENCRYPT_DATA,
    RIGHTS_DECRYPT_DATA,
    RIGHTS_PROCESS_TRANSACTION,
    RIGHTS_RESEAL_BLOBS,
    RIGHTS_REPORT_KEY_USE,
    RIGHTS_OPERATIONS
};
const char *rights_operation_name(enum rights_operation operation); /* "GenerateMac" */

/* One operation of a call, read from its request. */
struct rights_use {
    enum rights_operation operation;
    bool response_mti; /* GenerateMac: rights_is_response_mti(data) */
    /* MAC and data: the key. TranslatePin: source, destination. ProcessTransaction: the destination of its
     * PIN part, if there is one. Else none. */
    struct {
        const char *zone; /* not terminated; NULL: a blob */
        size_t zone_len;
    } keys[2];
    size_t key_count;
};
/* ERR_DENIED: the note names the right, zone or pair that is missing and the key of the configuration that
 * would give it; or the translation is one to a terminal's key, which nobody may ask for. ERR_INTERNAL: the
 * number of keys is not the operation's. */
enum err_code rights_check(const struct roles_view *view, const struct rights_use *use,
                           struct err *e) MUST_CHECK;

/* Whether the data of a MAC begin with the message type of a response: two bytes of BCD, version 0 (ISO
 * 8583:1987), the third digit (its function) odd: 1 request response, 3 advice response, 5 notification
 * acknowledgement. 02 10 and 03 30 are, 02 00 and 03 20 are not. Source: ISO 8583, message type identifier.
 */
bool rights_is_response_mti(const uint8_t *data, size_t len);

#endif
