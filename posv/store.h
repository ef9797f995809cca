/* The device table on disk: devices, the cards they held, and the table's revision.
 *
 * A change is one transaction that also takes the next revision; what store_change returned survives kill -9
 * and power loss. Writes are serialised; reads run beside them, each on a connection of its own. Any thread.
 */
#ifndef POSWARD_POSV_STORE_H
#define POSWARD_POSV_STORE_H

#include "posv/device.h"

struct store;

/* Make the file or open it. ERR_IO a damaged file or one of another program; ERR_UNSUPPORTED a file made by a
 * newer release; ERR_STATE a file that another process holds. Each note says what to do. */
enum err_code store_open_sqlite(const char *path, int64_t busy_timeout_ms, struct store **out_store,
                                struct err *e) MUST_CHECK;
/* Accepts NULL. No call may be under way. */
void store_free(struct store *s);

/* Carry out a checked request. As device_next; ERR_EXISTS also for a card that is in another terminal. */
enum err_code store_change(struct store *s, const struct device_request *request, struct device *out_device,
                           struct err *e) MUST_CHECK;

/* ERR_NOT_FOUND when there is none. */
enum err_code store_get(struct store *s, const char *terminal_id, struct device *out_device,
                        struct err *e) MUST_CHECK;
enum err_code store_get_by_card(struct store *s, const char *psam_number, struct device *out_device,
                                struct err *e) MUST_CHECK;

/* Filters: zero or an empty string means any. Strings are borrowed and not NULL. */
struct store_filter {
    int state, suite;
    const char *merchant_id, *terminal_prefix;
};
/* At most `capacity` devices in the order of terminal_id (bytes), after the one named `after` (exclusive, ""
 * : all). */
enum err_code store_list(struct store *s, const struct store_filter *filter, const char *after,
                         size_t capacity, struct device *out_devices, size_t *out_count,
                         struct err *e) MUST_CHECK;

/* At most `capacity` devices whose last change is after `revision`, oldest change first. Fewer than
 * `capacity` means that these were all. */
enum err_code store_changes(struct store *s, int64_t revision, size_t capacity, struct device *out_devices,
                            size_t *out_count, struct err *e) MUST_CHECK;

struct store_totals {
    int64_t revision;
    uint64_t by_state[DEVICE_STATE_MOST + 1];
};
/* Of one moment. */
enum err_code store_totals(struct store *s, struct store_totals *out_totals, struct err *e) MUST_CHECK;
/* The table's revision alone: cheap. */
enum err_code store_revision(struct store *s, int64_t *out_revision, struct err *e) MUST_CHECK;

#endif
