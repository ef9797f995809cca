#include "base/clock.h"
#include "p11/module/session.h"
#include "p11/object/object.h"
#include "p11/tok.h"
#include "tests/support/suite.h"
#include "tests/support/token.h"
#include "tests/unit/p11/harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(token_opens_and_says_what_it_is)
{
    struct tok *tok = open_copy(_i);
    struct tok_info info;
    tok_info(tok, &info);
    ck_assert_str_eq(info.label, TOKEN_LABEL);
    ck_assert_uint_gt(strlen(info.serial), 0);
    close_copy(tok);
}
END_TEST

START_TEST(token_takes_a_serial_and_refuses_another)
{
    struct tok *tok = open_copy(_i);
    struct tok_info info;
    tok_info(tok, &info);
    tok_close(tok);
    struct tok_options options = *token_options(&fixture);
    options.token_serial = info.serial;
    ck_assert_ok(tok_open(&options, &tok, &e), e);
    tok_close(tok);
    options.token_serial = "no-such-serial";
    ck_assert_int_eq(tok_open(&options, &tok, &e), ERR_NOT_FOUND);
    token_remove(&fixture);
}
END_TEST

static void write_pin(const char *line)
{
    FILE *pin = fopen(fixture.pin_path, "w");
    ck_assert_ptr_nonnull(pin);
    fputs(line, pin);
    fclose(pin);
}

START_TEST(token_refuses_a_wrong_pin_at_once)
{
    token_copy(&fixture, &masters[_i]);
    write_pin("not-the-pin\n");
    struct tok *tok = NULL;
    const int64_t start_ms = clock_monotonic_ms();
    ck_assert_int_eq(tok_open(token_options(&fixture), &tok, &e), ERR_UNAUTHENTICATED);
    ck_assert_int_eq(e.native, (long)CKR_PIN_INCORRECT);
    ck_assert_int_lt(clock_monotonic_ms() - start_ms, 3000);
    ck_assert_ptr_null(tok);
    token_remove(&fixture);
}
END_TEST

START_TEST(token_refuses_bad_options)
{
    token_copy(&fixture, &masters[_i]);
    struct tok *tok = NULL;
    struct tok_options options = *token_options(&fixture);
    options.session_count = 0;
    ck_assert_int_eq(tok_open(&options, &tok, &e), ERR_INPUT);
    options.session_count = 1;
    options.module_path = "/nonexistent/module.so";
    ck_assert_int_eq(tok_open(&options, &tok, &e), ERR_NOT_FOUND);
    options.module_path = "libc.so.6";
    ck_assert_int_eq(tok_open(&options, &tok, &e), ERR_INPUT);
    chmod(fixture.pin_path, 0644);
    ck_assert_int_eq(tok_open(token_options(&fixture), &tok, &e), ERR_DENIED);
    token_remove(&fixture);
}
END_TEST

/* DES K||K of the "kcv" vectors, so that the answer is published: kcv-sem-main. */
static void check_session(struct tok_session *s)
{
    static const uint8_t value[16] = {0x31, 0x31, 0x31, 0x31, 0x31, 0x31, 0x31, 0x31,
                                      0x31, 0x31, 0x31, 0x31, 0x31, 0x31, 0x31, 0x31};
    static const uint8_t want[8] = {0x40, 0x82, 0x6A, 0x58, 0x00, 0x60, 0x8C, 0x87};
    const CK_ATTRIBUTE_TYPE uses[] = {CKA_ENCRYPT, CK_UNAVAILABLE_INFORMATION};
    AUTO(tok_object) key = {0};
    uint8_t kcv[8];
    ck_assert_ok(tok_object_import(s, CKK_DES2, value, sizeof value, uses, &key, &e), e);
    ck_assert_ok(tok_object_kcv(s, key.handle, TOK_TDES, kcv, sizeof kcv, &e), e);
    ck_assert_mem_eq(kcv, want, sizeof want);
}

START_TEST(session_survives_the_loss_of_all_sessions)
{
    struct tok *tok = open_copy(_i);
    struct tok_session *s = NULL;
    ck_assert_ok(tok_session_take(tok, &s, &e), e);
    check_session(s);
    CK_SESSION_INFO session_info;
    ck_assert(s->fn->C_GetSessionInfo(s->handle, &session_info) == CKR_OK);
    CK_FUNCTION_LIST *fn = s->fn;
    tok_session_give(s);
    ck_assert(fn->C_CloseAllSessions(session_info.slotID) == CKR_OK); /* as a restarted token does */
    for (int i = 0; i < 3; i++) {
        ck_assert_ok(tok_session_take(tok, &s, &e), e);
        check_session(s);
        tok_session_give(s);
    }
    close_copy(tok);
}
END_TEST

/* Tokens lock a PIN after a few wrong ones: a service that recovers by itself must not use them up. */
START_TEST(recovery_tries_a_wrong_pin_once)
{
    struct tok *tok = open_copy(_i);
    struct tok_session *s = take(tok);
    CK_SESSION_INFO session_info;
    ck_assert(s->fn->C_GetSessionInfo(s->handle, &session_info) == CKR_OK);
    CK_FUNCTION_LIST *fn = s->fn;
    tok_session_give(s);
    write_pin("not-the-pin\n");
    ck_assert(fn->C_CloseAllSessions(session_info.slotID) == CKR_OK);
    ck_assert_int_eq(tok_session_take(tok, &s, &e), ERR_UNAUTHENTICATED);
    ck_assert_int_eq(e.native, (long)CKR_PIN_INCORRECT);
    write_pin(TOKEN_PIN "\n");
    ck_assert_int_eq(tok_session_take(tok, &s, &e), ERR_UNAUTHENTICATED);
    ck_assert_int_eq(e.native, 0); /* the token was not asked */
    close_copy(tok);
}
END_TEST

/* As keepers start: all at once, on one token. */
START_TEST(simultaneous_starts_all_succeed)
{
    enum { STARTS = 6 };
    pid_t children[STARTS];
    token_copy(&fixture, &masters[_i]);
    fflush(NULL);
    for (int i = 0; i < STARTS; i++) {
        children[i] = fork();
        if (children[i] != 0)
            continue;
        struct tok *tok = NULL;
        const enum err_code code = tok_open(token_options(&fixture), &tok, &e);
        tok_close(tok);
        _exit(code == ERR_OK ? 0 : 1);
    }
    for (int i = 0; i < STARTS; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        ck_assert_int_eq(status, 0);
    }
    token_remove(&fixture);
}
END_TEST

START_TEST(start_waits_for_the_lock)
{
    token_copy(&fixture, &masters[_i]);
    fflush(NULL);
    const int fd = open(fixture.lock_path, O_RDWR | O_CREAT, 0600);
    ck_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
    const pid_t child = fork(); /* holds the same lock, and lets go by ending */
    if (child == 0) {
        usleep(300000);
        _exit(0);
    }
    close(fd);
    struct tok *tok = NULL;
    const int64_t start_ms = clock_monotonic_ms();
    ck_assert_ok(tok_open(token_options(&fixture), &tok, &e), e);
    ck_assert_int_ge(clock_monotonic_ms() - start_ms, 200);
    waitpid(child, NULL, 0);
    close_copy(tok);
}
END_TEST

START_TEST(session_survives_a_logout)
{
    struct tok *tok = open_copy(_i);
    struct tok_session *s = NULL;
    ck_assert_ok(tok_session_take(tok, &s, &e), e);
    ck_assert(s->fn->C_Logout(s->handle) == CKR_OK);
    tok_session_give(s);
    ck_assert_ok(tok_session_take(tok, &s, &e), e);
    check_session(s);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static void *hammer(void *tok)
{
    for (int i = 0; i < 100; i++) {
        struct tok_session *s = NULL;
        struct err mine = {0};
        uint8_t random[8];
        if (tok_session_take(tok, &s, &mine) != ERR_OK)
            return tok;
        const enum err_code code = tok_random(s, random, sizeof random, &mine);
        tok_session_give(s);
        if (code != ERR_OK)
            return tok;
    }
    return NULL;
}

START_TEST(sessions_are_shared_by_more_threads_than_there_are)
{
    struct tok *tok = open_copy(_i);
    pthread_t threads[6];
    for (size_t i = 0; i < 6; i++)
        ck_assert(pthread_create(&threads[i], NULL, hammer, tok) == 0);
    for (size_t i = 0; i < 6; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    close_copy(tok);
}
END_TEST

START_TEST(session_is_refused_after_fork)
{
    struct tok *tok = open_copy(_i);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        struct tok_session *s = NULL;
        _exit(tok_session_take(tok, &s, &e) == ERR_STATE ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
    close_copy(tok);
}
END_TEST

START_TEST(rv_maps_to_a_class_and_a_name)
{
    ck_assert_int_eq(tok_rv(CKR_OK, "C_Sign", &e), ERR_OK);
    ck_assert_int_eq(tok_rv(CKR_MECHANISM_INVALID, "C_WrapKey", &e), ERR_UNSUPPORTED);
    ck_assert_str_eq(e.note, "C_WrapKey: CKR_MECHANISM_INVALID");
    ck_assert_int_eq(e.native, 0x70);
    ck_assert_int_eq(tok_rv(CKR_KEY_UNEXTRACTABLE, "C_WrapKey", &e), ERR_DENIED);
    ck_assert_int_eq(tok_rv(CKR_DEVICE_REMOVED, "C_Sign", &e), ERR_UNAVAILABLE);
    ck_assert_int_eq(tok_rv(CKR_PIN_INCORRECT, "C_Login", &e), ERR_UNAUTHENTICATED);
    ck_assert_int_eq(tok_rv(CKR_VENDOR_DEFINED + 7, "C_Sign", &e), ERR_INTERNAL);
    ck_assert_str_eq(e.note, "C_Sign: CKR_VENDOR_DEFINED 0x80000007");
    ck_assert_str_eq(tok_rv_name(CKR_VENDOR_DEFINED + 7), "CKR_VENDOR_DEFINED");
    ck_assert_int_eq(tok_rv(0x7777, "C_Sign", &e), ERR_INTERNAL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/token");
    TCase *tc = tcase_create("token");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, token_opens_and_says_what_it_is, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, token_takes_a_serial_and_refuses_another, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, token_refuses_a_wrong_pin_at_once, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, token_refuses_bad_options, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, session_survives_the_loss_of_all_sessions, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, recovery_tries_a_wrong_pin_once, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, simultaneous_starts_all_succeed, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, start_waits_for_the_lock, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, session_survives_a_logout, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, sessions_are_shared_by_more_threads_than_there_are, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, session_is_refused_after_fork, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, rv_maps_to_a_class_and_a_name);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
