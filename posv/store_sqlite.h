/* Inside the SQLite store: what its writing side and its reading side share. */
#ifndef POSWARD_POSV_STORE_SQLITE_H
#define POSWARD_POSV_STORE_SQLITE_H

#include "posv/store_backend.h"
#include "run/sqlite.h"

#include <limits.h>

struct store_sqlite {
    struct store base;
    struct sqlite_link writer;
    pthread_mutex_t pool;
    struct sqlite_link *idle; /* readers that nobody uses now */
    int idle_count;
    int lock_fd;
    int64_t busy_timeout_ms;
    char path[PATH_MAX];
};

enum statement {
    FIND_TERMINAL,
    FIND_CARD,
    NEXT_REVISION,
    PUT,
    STAY_BEGIN,
    STAY_END,
    LIST,
    CHANGES,
    TOTALS,
    REVISION,
    BEGIN,
    COMMIT
};

extern const struct sqlite_schema store_sqlite_schema;
/* SQL by statement number, for both kinds of connection. */
extern const char *const store_sqlite_statements[];

static inline struct store_sqlite *sqlite_of(struct store *s)
{
    return (struct store_sqlite *)s;
}

/* FIND_TERMINAL or FIND_CARD. */
enum err_code store_sqlite_find(struct sqlite_link *link, enum statement number, const char *key,
                                struct device *out_device, bool *out_found, struct err *e) MUST_CHECK;
/* NEXT_REVISION or REVISION. */
enum err_code store_sqlite_revision(struct sqlite_link *link, enum statement number, int64_t *out_revision,
                                    struct err *e) MUST_CHECK;
/* The rows of a bound statement whose columns are a device's. */
enum err_code store_sqlite_devices(struct sqlite_link *link, sqlite3_stmt *statement, size_t capacity,
                                   struct device *out_devices, size_t *out_count, struct err *e) MUST_CHECK;

/* The backend's reading side; a connection from the pool for the length of a call. */
enum err_code store_sqlite_get(struct store *s, const char *terminal_id, const char *card_key,
                               struct device *out_device, bool *out_found, struct err *e) MUST_CHECK;
enum err_code store_sqlite_list(struct store *s, const struct store_filter *filter, const char *after,
                                size_t capacity, struct device *out_devices, size_t *out_count,
                                struct err *e) MUST_CHECK;
enum err_code store_sqlite_changes(struct store *s, int64_t revision, size_t capacity,
                                   struct device *out_devices, size_t *out_count, struct err *e) MUST_CHECK;
enum err_code store_sqlite_totals(struct store *s, struct store_totals *out_totals, struct err *e) MUST_CHECK;
enum err_code store_sqlite_now(struct store *s, int64_t *out_revision, struct err *e) MUST_CHECK;
void store_sqlite_close_readers(struct store_sqlite *s);

#endif
