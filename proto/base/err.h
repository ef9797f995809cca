/* Errors: a small class that code branches on, and a detail that a person reads.
 *
 * Whatever can fail returns `enum err_code` and fills the caller's `struct err`; TRY passes both on.
 * Never put a key, a PIN, a PAN or a track into a note: notes reach logs and peers. */
#ifndef POSWARD_BASE_ERR_H
#define POSWARD_BASE_ERR_H

#include <stddef.h>
#include <stdint.h>

enum err_code {
    ERR_OK = 0,
    ERR_INPUT,           /* the caller's data is wrong, and will be wrong again */
    ERR_DENIED,          /* understood, but this identity, key usage or policy forbids it */
    ERR_UNAUTHENTICATED, /* no identity, or one that does not verify */
    ERR_NOT_FOUND,       /* what the caller names does not exist */
    ERR_EXISTS,          /* what the caller makes is there already */
    ERR_STATE,           /* right request, wrong moment: the object's state forbids it */
    ERR_CHECK,           /* a MAC, KCV, tag or signature does not match */
    ERR_LIMIT,           /* a size, rate or number in flight is exceeded */
    ERR_TIMEOUT,         /* the deadline passed; the outcome may be unknown */
    ERR_CANCELLED,       /* the caller went away */
    ERR_UNAVAILABLE,     /* a peer, token or store is away; the same request may succeed later */
    ERR_UNSUPPORTED,     /* this build, token or peer cannot do it */
    ERR_IO,              /* a file, socket or database failed */
    ERR_INTERNAL,        /* a broken promise of our own */
    ERR_CODE_COUNT
};

struct err {
    enum err_code code;
    long native;       /* CKR, errno, SQL or gRPC number; 0 when there is none */
    const char *where; /* static: the function or call that failed */
    int64_t retry_ms;  /* when it may succeed; 0: not known. Servers pass it on as a hint */
    char note[200];    /* one sentence that says what is wrong and, where known, what to do next */
};

/* Pass a failure on. The one macro that hides a return; `e` must be the caller's own struct err pointer. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        const enum err_code try_code_ = (call);                                                              \
        if (try_code_ != ERR_OK)                                                                             \
            return try_code_;                                                                                \
    } while (0)

/* Scope cleanup: `AUTO(secret) pin = {0};` calls secret_drop(&pin) when the scope ends. For types `struct
 * NAME`. */
#define AUTO(name) __attribute__((cleanup(name##_drop))) struct name
/* The same for a heap object: `AUTO_FREE(iso_message) *m = NULL;` calls iso_message_free(m); needs
 * AUTO_FREE_DEFINE. */
#define AUTO_FREE(name) __attribute__((cleanup(name##_auto_free))) struct name
#define AUTO_FREE_DEFINE(name)                                                                               \
    static inline void name##_auto_free(struct name **p)                                                     \
    {                                                                                                        \
        name##_free(*p);                                                                                     \
    }

#define MUST_CHECK __attribute__((warn_unused_result))

/* The four ways to fill an error are macros around functions that only write. The value is computed where
 * they are used, so that compilers and analyzers see that a failure is never ERR_OK and that an output is not
 * read after it. Every argument is evaluated once. */

/* Fill `e` (may be NULL) and return `code`: `return err_set(e, ERR_INPUT, "psam_number has %zu digits; ...",
 * n);` */
#define err_set(e, code, ...) err_native(e, code, 0, __VA_ARGS__)

/* The same with the number of the layer below. */
#define err_native(e, code, native, ...)                                                                     \
    __extension__({                                                                                          \
        const enum err_code err_code_ = (code);                                                              \
        (void)err_fill((e), err_code_, (native), __func__, __VA_ARGS__);                                     \
        err_code_;                                                                                           \
    })

/* Put "context: " in front of the note of a failure that is being passed on; returns its code (ERR_INTERNAL
 * when `e` is NULL or holds no failure). */
#define err_context(e, ...)                                                                                  \
    __extension__({                                                                                          \
        struct err *const err_e_ = (e);                                                                      \
        err_prefix(err_e_, __VA_ARGS__);                                                                     \
        err_e_ != NULL && err_e_->code != ERR_OK ? err_e_->code : ERR_INTERNAL;                              \
    })

/* ERR_IO with errno's text after the formatted one. */
#define err_errno(e, ...)                                                                                    \
    __extension__({                                                                                          \
        err_fill_errno((e), __VA_ARGS__);                                                                    \
        ERR_IO;                                                                                              \
    })

/* What the macros call; `e` may be NULL. err_fill is for callers that name another `where`, and returns
 * `code`. */
enum err_code err_fill(struct err *e, enum err_code code, long native, const char *where, const char *format,
                       ...) __attribute__((format(printf, 5, 6)));
void err_prefix(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
void err_fill_errno(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "INPUT", "DENIED", ...: stable, for logs and metrics. */
const char *err_name(enum err_code code);

#endif
