/* What a database must offer to be POSV's store. store.c holds the rules and the order of steps; a backend
 * only moves rows. Functions of the writing side run under store.c's lock, between begin and commit or
 * rollback. */
#ifndef POSWARD_POSV_STORE_BACKEND_H
#define POSWARD_POSV_STORE_BACKEND_H

#include "posv/store.h"

#include <pthread.h>

struct store_backend {
    /* Writing side. find_*: *out_found tells; no row is not an error. */
    enum err_code (*begin)(struct store *s, struct err *e);
    enum err_code (*find_terminal)(struct store *s, const char *terminal_id, struct device *out_device,
                                   bool *out_found, struct err *e);
    enum err_code (*find_card)(struct store *s, const char *card_key, struct device *out_device,
                               bool *out_found, struct err *e);
    enum err_code (*next_revision)(struct store *s, int64_t *out_revision, struct err *e);
    /* Insert or replace the row of device->terminal_id. */
    enum err_code (*put)(struct store *s, const struct device *device, struct err *e);
    /* The card's stay in the terminal begins; or the stay that is open there ends for `reason`. */
    enum err_code (*stay_begin)(struct store *s, const struct device *device, struct err *e);
    enum err_code (*stay_end)(struct store *s, const struct device *device, struct err *e);
    enum err_code (*commit)(struct store *s, struct err *e);
    void (*rollback)(struct store *s);

    /* Reading side, from any thread. */
    enum err_code (*get)(struct store *s, const char *terminal_id, const char *card_key,
                         struct device *out_device, bool *out_found, struct err *e);
    enum err_code (*list)(struct store *s, const struct store_filter *filter, const char *after,
                          size_t capacity, struct device *out_devices, size_t *out_count, struct err *e);
    enum err_code (*changes)(struct store *s, int64_t revision, size_t capacity, struct device *out_devices,
                             size_t *out_count, struct err *e);
    enum err_code (*totals)(struct store *s, struct store_totals *out_totals, struct err *e);
    enum err_code (*revision)(struct store *s, int64_t *out_revision, struct err *e);
    void (*free)(struct store *s);
};

/* First member of a backend's own struct. */
struct store {
    const struct store_backend *backend;
    pthread_mutex_t writing;
};

#endif
