#include "base/clock.h"
#include "base/secret.h"
#include "p11/module/state.h"

#define START_PATIENCE_MS 5000
#define BACKOFF_FIRST_MS  50
#define BACKOFF_MAX_MS    800

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
        err_context(e, "the token refuses the PIN in %s; fix the file before the token locks it",
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
            "the token leaves one try for the PIN, which is not risked; fix %.80s, and log in once "
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
                       "the token refused the PIN in %s; fix the file and start again", tok->pin_path);
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
enum err_code tok_start(struct tok *tok, const struct tok_options *options, struct err *e)
{
    const int64_t deadline_ms = clock_monotonic_ms() + START_PATIENCE_MS;
    int64_t backoff_ms = BACKOFF_FIRST_MS;
    for (;;) {
        const enum err_code code = start_once(tok, options, false, e);
        if (code != ERR_UNAVAILABLE || clock_monotonic_ms() + backoff_ms > deadline_ms)
            return code;
        clock_sleep_ms(backoff_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
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
                       "the token refused the PIN in %s; fix the file and start again", tok->pin_path);
    return start_once(tok, &options, true, e);
}
