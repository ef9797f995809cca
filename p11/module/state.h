/* Inside p11 only: what a struct tok is made of. Files of one concern each own their part of it. */
#ifndef POSWARD_P11_MODULE_STATE_H
#define POSWARD_P11_MODULE_STATE_H

#include "p11/module/lock.h"
#include "p11/module/session.h"

#include <pthread.h>
#include <sys/types.h>

struct tok_keys;  /* keys/table.h */
struct tok_cache; /* keys/cache.c */
struct tok_ways;  /* flow/way.h */

struct tok {
    CK_FUNCTION_LIST *fn;
    CK_SLOT_ID slot;
    struct tok_info info;
    char *pin_path, *lock_path;         /* to log in again after the token was restarted */
    char *label, *serial, *init_string; /* and to find it anew when the module has to be initialised again */
    bool pin_refused; /* a login after a restart met a wrong PIN: no further tries, they would lock it */
    pid_t pid;        /* a module's state does not survive fork */

    pthread_mutex_t lock; /* guards idle, idle_count */
    pthread_cond_t given;
    struct tok_session *sessions;
    struct tok_session **idle; /* the last idle_count of a stack */
    size_t session_count, idle_count;
    size_t recovering;   /* of those that are taken: their borrowers wait for the token to come back */
    bool reinitialising; /* no session is lent meanwhile */
    _Atomic unsigned relogins, reinitialised; /* recoveries so far */

    pthread_mutex_t
        holder_lock;           /* one thread a session, the holder too; recursive: recovery loads the keys */
    struct tok_session holder; /* owns what outlives a call: copies of token keys, opened blobs */

    pthread_mutex_t keys_lock; /* guards the pointer and what it points to */
    struct tok_keys *keys;
    _Atomic bool stale; /* handles in it died with the holder session, and it was not loaded anew yet */
    size_t probed;      /* whose turn it is */
    struct tok_cache *cache;

    struct tok_ways *ways; /* NULL: nothing was probed */
};

/* module.c: dlopen and C_GetFunctionList; C_Initialize; the slot of the token that the options name. */
enum err_code tok_module_load(const char *path, CK_FUNCTION_LIST **out_fn, struct err *e) MUST_CHECK;
enum err_code tok_module_initialize(CK_FUNCTION_LIST *fn, const char *init_string, struct err *e) MUST_CHECK;
enum err_code tok_module_find(struct tok *tok, const struct tok_options *options, struct err *e) MUST_CHECK;

/* token.c: initialise, find the token, log in; passing errors are tried again for 5 s. */
enum err_code tok_start(struct tok *tok, const struct tok_options *options, struct err *e) MUST_CHECK;
/* token.c: open the holder session and log in, under the flock. A PIN that was refused is not tried again. */
enum err_code tok_login(struct tok *tok, struct err *e) MUST_CHECK;

/* token.c: finalise the module, initialise it, find the token - its slot may be another by now - and log in.
 * No session is in use. On failure nothing is initialised, and it may be tried again. */
enum err_code tok_reinitialise(struct tok *tok, struct err *e) MUST_CHECK;

/* session.c: holder_lock, for who has a borrowed session: a recovery does not wait for this one. */
void tok_holder_take(struct tok *tok);
/* How many sessions wait for a recovery, by this more. */
void tok_count_recovering(struct tok *tok, int change);
enum err_code tok_sessions_open(struct tok *tok, size_t count, struct err *e) MUST_CHECK;
void tok_sessions_close(struct tok *tok);
/* One of them, anew. */
enum err_code tok_session_reopen(struct tok_session *s, struct err *e) MUST_CHECK;

#endif
