#include "p11/token.h"

#include "base/clock.h"
#include "base/secret.h"
#include "p11/state.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_PATIENCE_MS 5000
#define BACKOFF_FIRST_MS  50
#define BACKOFF_MOST_MS   800
#define SESSIONS_MOST     256

static enum err_code login_user(struct tok *tok, const struct secret *pin, struct err *e)
{
    CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(tok->fn->C_OpenSession(tok->slot, CKF_SERIAL_SESSION, NULL, NULL, &handle), "C_OpenSession",
               e));
    const CK_RV rv = tok->fn->C_Login(handle, CKU_USER, pin->bytes, pin->len);
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN) {
        tok->holder = (struct tok_session){.tok = tok, .fn = tok->fn, .handle = handle};
        return ERR_OK;
    }
    tok->fn->C_CloseSession(handle);
    const enum err_code code = tok_rv(rv, "C_Login", e);
    tok->pin_refused = code == ERR_UNAUTHENTICATED;
    if (tok->pin_refused)
        err_context(e, "the token refuses the PIN in %s; mend the file before the token locks it",
                    tok->pin_path);
    return code;
}

/* A service that is started again and again with a wrong PIN must leave a person the last try. */
static enum err_code check_tries(const struct tok *tok, struct err *e)
{
    CK_TOKEN_INFO info;
    TRY(tok_rv(tok->fn->C_GetTokenInfo(tok->slot, &info), "C_GetTokenInfo", e));
    if ((info.flags & CKF_USER_PIN_LOCKED) != 0)
        return err_set(e, ERR_UNAUTHENTICATED,
                       "the token has locked its user PIN; unlock it with the vendor's tool");
    if ((info.flags & CKF_USER_PIN_FINAL_TRY) != 0)
        return err_set(
            e, ERR_UNAUTHENTICATED,
            "the token leaves one try for the PIN, which is not risked; mend %.80s, and log in once "
            "with the vendor's tool",
            tok->pin_path);
    return ERR_OK;
}

/* The caller holds the lock. */
static enum err_code login_locked(struct tok *tok, struct err *e)
{
    TRY(check_tries(tok, e));
    AUTO(secret) pin = {0};
    TRY(secret_init_file(&pin, tok->pin_path, e));
    return login_user(tok, &pin, e);
}

enum err_code tok_login(struct tok *tok, struct err *e)
{
    if (tok->pin_refused)
        return err_set(e, ERR_UNAUTHENTICATED,
                       "the token refused the PIN in %s; mend the file and start anew", tok->pin_path);
    AUTO(tok_lock) lock = {0};
    TRY(tok_lock_take(tok->lock_path, &lock, e));
    return login_locked(tok, e);
}

/* One attempt: initialise, find, log in. Leaves the module finalised when it fails. `again`: it may be
 * initialised still; the lock keeps that from a key that is being made. */
static enum err_code start_once(struct tok *tok, const struct tok_options *options, bool again, struct err *e)
{
    AUTO(tok_lock) lock = {0};
    TRY(tok_lock_take(tok->lock_path, &lock, e));
    if (again)
        tok->fn->C_Finalize(NULL); /* whatever it says: it may be finalised already */
    TRY(tok_module_initialize(tok->fn, options->init_string, e));
    enum err_code code = tok_module_find(tok, options, e);
    if (code == ERR_OK)
        code = login_locked(tok, e);
    if (code != ERR_OK)
        tok->fn->C_Finalize(NULL);
    return code;
}

/* Simultaneous starts fail now and then on every soft token with CKR_GENERAL_ERROR and the like. */
static enum err_code start(struct tok *tok, const struct tok_options *options, struct err *e)
{
    const int64_t deadline_ms = clock_monotonic_ms() + START_PATIENCE_MS;
    int64_t backoff_ms = BACKOFF_FIRST_MS;
    for (;;) {
        const enum err_code code = start_once(tok, options, false, e);
        if (code != ERR_UNAVAILABLE || clock_monotonic_ms() + backoff_ms > deadline_ms)
            return code;
        clock_sleep_ms(backoff_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MOST_MS ? backoff_ms * 2 : BACKOFF_MOST_MS;
    }
}

enum err_code tok_reinitialise(struct tok *tok, struct err *e)
{
    const struct tok_options options = {.token_label = tok->label,
                                        .token_serial = tok->serial,
                                        .pin_path = tok->pin_path,
                                        .init_string = tok->init_string};
    if (tok->pin_refused)
        return err_set(e, ERR_UNAUTHENTICATED,
                       "the token refused the PIN in %s; mend the file and start anew", tok->pin_path);
    return start_once(tok, &options, true, e);
}

static enum err_code check_options(const struct tok_options *options, struct err *e)
{
    if (options->module_path == NULL || options->token_label == NULL || options->pin_path == NULL)
        return err_set(e, ERR_INPUT, "a token needs module_path, token_label and pin_path");
    if (options->session_count < 1 || options->session_count > SESSIONS_MOST)
        return err_set(e, ERR_INPUT, "session_count is %zu; give 1 to %d", options->session_count,
                       SESSIONS_MOST);
    return ERR_OK;
}

static void free_tok(struct tok *tok)
{
    tok_cache_free(tok);
    tok_keys_free(tok);
    pthread_mutex_destroy(&tok->keys_lock);
    pthread_mutex_destroy(&tok->holder_lock);
    pthread_mutex_destroy(&tok->lock);
    pthread_cond_destroy(&tok->given);
    free(tok->ways);
    free(tok->pin_path);
    free(tok->lock_path);
    free(tok->label);
    free(tok->serial);
    free(tok->init_string);
    free(tok);
}

static enum err_code new_tok(const struct tok_options *options, struct tok **out_tok, struct err *e)
{
    struct tok *tok = calloc(1, sizeof *tok);
    if (tok == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a token");
    tok->pid = getpid();
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&tok->holder_lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&tok->keys_lock, NULL);
    pthread_mutex_init(&tok->lock, NULL);
    pthread_cond_init(&tok->given, NULL);
    const struct {
        char **copy;
        const char *text;
    } texts[] = {{&tok->pin_path, options->pin_path},
                 {&tok->lock_path, options->lock_path},
                 {&tok->label, options->token_label},
                 {&tok->serial, options->token_serial},
                 {&tok->init_string, options->init_string}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        *texts[i].copy = texts[i].text != NULL ? strdup(texts[i].text) : NULL;
        if (texts[i].text != NULL && *texts[i].copy == NULL) {
            free_tok(tok);
            return err_set(e, ERR_LIMIT, "no memory for a token");
        }
    }
    *out_tok = tok;
    return ERR_OK;
}

static enum err_code open_into(struct tok *tok, const struct tok_options *options, struct err *e)
{
    TRY(tok_module_load(options->module_path, &tok->fn, e));
    TRY(start(tok, options, e));
    enum err_code code = tok_pool_open(tok, options->session_count, e);
    if (code == ERR_OK)
        code = tok_cache_new(tok, e);
    if (code == ERR_OK)
        return ERR_OK;
    tok_pool_close(tok);
    tok->fn->C_Finalize(NULL);
    return code;
}

enum err_code tok_open(const struct tok_options *options, struct tok **out_tok, struct err *e)
{
    TRY(check_options(options, e));
    struct tok *tok = NULL;
    TRY(new_tok(options, &tok, e));
    const enum err_code code = open_into(tok, options, e);
    if (code != ERR_OK) {
        free_tok(tok);
        return code;
    }
    *out_tok = tok;
    return ERR_OK;
}

void tok_close(struct tok *tok)
{
    if (tok == NULL)
        return;
    const bool ours = tok->pid == getpid();
    if (ours) {
        tok_pool_close(tok);
        tok->fn->C_Logout(tok->holder.handle);
        tok->fn->C_CloseSession(tok->holder.handle);
        tok->fn->C_Finalize(NULL);
    }
    free_tok(tok);
}

void tok_info(const struct tok *tok, struct tok_info *out_info)
{
    *out_info = tok->info;
}
