/* A device of the table - a terminal and the card in it - and what may happen to it. No I/O, no state, any
 * thread. */
#ifndef POSWARD_POSV_DEVICE_H
#define POSWARD_POSV_DEVICE_H

#include "base/err.h"
#include "base/terms.h"

#include <stdbool.h>
#include <stdint.h>

#define TERMINAL_ID_CHARS 8
#define MERCHANT_ID_CHARS 15
#define REASON_CHARS_MOST 100

/* Numbers of DeviceState and Suite in the .proto; the store keeps them too, so they never change. */
enum device_state { DEVICE_ACTIVE = 1, DEVICE_SUSPENDED = 2, DEVICE_RETIRED = 3 };
#define DEVICE_STATE_MOST 3
#define DEVICE_SUITE_TDES 1
#define DEVICE_SUITE_MOST 3
#define DEVICE_WRAP_MAX   2

struct device {
    char terminal_id[TERMINAL_ID_CHARS + 1];
    char merchant_id[MERCHANT_ID_CHARS + 1];
    char psam_number[PSAM_DIGITS_MAX + 1]; /* empty once retired */
    int suite;
    int master_version;
    int wrap_version; /* 1 or 2: what working keys come under */
    enum device_state state;
    int64_t revision; /* of the table, when this device last changed */
    int64_t created_ms, updated_ms;
    char reason[REASON_CHARS_MOST + 1];
};

enum device_action { DEVICE_REGISTER, DEVICE_REPLACE_CARD, DEVICE_SUSPEND, DEVICE_RESUME, DEVICE_RETIRE };

/* What a caller asks for. Strings are borrowed and never NULL; those that the action does not take are empty.
 */
struct device_request {
    enum device_action action;
    const char *terminal_id, *merchant_id, *psam_number, *reason;
    int64_t suite, master_version; /* as wide as the wire's, so that nothing is cut before it is checked */
    int64_t wrap_version;          /* 0: 1 */
};

/* Form of every field that the action takes. ERR_INPUT names the field, what it must be and what came. */
enum err_code device_check(const struct device_request *request, struct err *e) MUST_CHECK;

/* Single fields, for lookups and filters. */
enum err_code device_check_terminal(const char *terminal_id, struct err *e) MUST_CHECK;
enum err_code device_check_terminal_prefix(const char *prefix, struct err *e) MUST_CHECK;
enum err_code device_check_merchant(const char *merchant_id, struct err *e) MUST_CHECK;
enum err_code device_check_psam(const char *psam_number, struct err *e) MUST_CHECK;
enum err_code device_check_suite(int64_t suite, struct err *e) MUST_CHECK;

/* The device after `request` (checked), without revision and times. `now` is NULL when the terminal is
 * unknown. ERR_EXISTS, ERR_NOT_FOUND or ERR_STATE say why not, and what would do. */
enum err_code device_next(const struct device *now, const struct device_request *request,
                          struct device *out_next, struct err *e) MUST_CHECK;

/* A card's identity: its number left-padded with zeros to 20 digits. Two spellings of one number give one key
 * material, so they are one card. */
void device_card_key(const char *psam_number, char out_key[PSAM_DIGITS_MAX + 1]);

/* "ACTIVE", "SUSPENDED", "RETIRED". */
const char *device_state_name(enum device_state state);

#endif
