/* kill -9 while keys are made, change their state and go: the token stays sound, and what was said stays
 * true. */
#include "p11/keys/keys.h"
#include "p11/tok.h"
#include "tests/unit/p11/harness.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_GIVEN 30

static const struct tok_key_name zone_mac = {
    .role = TOK_ZONE_MAC, .suite = TOK_TDES, .version = 1, .zone = "bank-a"};
static const struct tok_key_name storage = {.role = TOK_STORAGE, .suite = TOK_AES_256, .version = 1};

/* What the worker does next, and then did. */
struct said {
    char phase; /* 'b': begins, 'd': done */
    int step;
};

static void say(int fd, char phase, int step)
{
    const struct said said = {phase, step};
    if (write(fd, &said, sizeof said) != (ssize_t)sizeof said)
        _exit(3);
}

static enum err_code do_step(struct tok *tok, int step, struct err *step_e)
{
    struct tok_key_info info;
    switch (step) {
    case 0:
        return tok_key_generate(tok, &zone_mac, TOK_KEY_PRE_ACTIVE, &info, step_e);
    case 1:
        return tok_key_set_state(tok, &zone_mac, TOK_KEY_ACTIVE, &info, step_e);
    case 2:
        return tok_key_set_state(tok, &zone_mac, TOK_KEY_DEACTIVATED, &info, step_e);
    default:
        return tok_key_destroy(tok, &zone_mac, step_e);
    }
}
#define STEPS 4

static _Noreturn void work(int fd, int first)
{
    struct tok *tok = NULL;
    struct err work_e = {0};
    if (tok_open(token_options(&fixture), &tok, &work_e) != ERR_OK)
        _exit(2);
    say(fd, 'd', -1); /* logged in: the login itself is another test's */
    for (int step = first;; step = (step + 1) % STEPS) {
        say(fd, 'b', step);
        if (do_step(tok, step, &work_e) != ERR_OK)
            _exit(4);
        say(fd, 'd', step);
    }
}

static pid_t start(int out_fds[2], int first)
{
    ck_assert(pipe(out_fds) == 0);
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(out_fds[0]);
        work(out_fds[1], first);
    }
    close(out_fds[1]);
    return pid;
}

static void wait_for_login(int fd)
{
    struct said said;
    ck_assert_int_eq(read(fd, &said, sizeof said), sizeof said);
    ck_assert_int_eq(said.step, -1);
}

/* The last that was said before the worker died. */
static struct said last_said(int fd)
{
    struct said said = {'d', -1}, next;
    while (read(fd, &next, sizeof next) == (ssize_t)sizeof next)
        said = next;
    close(fd);
    return said;
}

/* State after so many whole steps; 0: no key. */
static int state_after(int step)
{
    static const int states[] = {TOK_KEY_PRE_ACTIVE, TOK_KEY_ACTIVE, TOK_KEY_DEACTIVATED, 0};
    return states[step];
}

/* In a process of its own, which loads the module. The exit status is the key's state, or 100 and more. */
static _Noreturn void look(void)
{
    struct tok *tok = NULL;
    struct err look_e = {0};
    int state = 0;
    if (tok_open(token_options(&fixture), &tok, &look_e) != ERR_OK)
        _exit(100);
    if (tok_keys_load(tok, &look_e) != ERR_OK)
        _exit(101);
    bool storage_there = false;
    for (size_t i = 0; i < tok_keys_count(tok); i++) {
        struct tok_key_info info;
        tok_keys_info(tok, i, &info);
        storage_there |= info.name.role == storage.role;
        if (info.name.role == zone_mac.role)
            state = (int)info.state;
    }
    tok_close(tok);
    _exit(storage_there ? state : 102);
}

static int look_apart(void)
{
    int status = 0;
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        look();
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void make_storage(void)
{
    const pid_t pid = fork();
    int status = 0;
    if (pid == 0) {
        struct tok *tok = NULL;
        struct tok_key_info info;
        struct err make_e = {0};
        if (tok_open(token_options(&fixture), &tok, &make_e) != ERR_OK ||
            tok_key_generate(tok, &storage, TOK_KEY_ACTIVE, &info, &make_e) != ERR_OK)
            _exit(1);
        tok_close(tok);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(killed_worker_leaves_a_sound_token)
{
    const char *const wanted = getenv("POSWARD_KILLS");
    const int rounds = wanted != NULL ? atoi(wanted) : ROUNDS_GIVEN;
    token_copy(&fixture, &masters[_i]);
    make_storage();
    int next = 0;
    for (int round = 0; round < rounds; round++) {
        int fds[2];
        const pid_t pid = start(fds, next);
        wait_for_login(fds[0]);
        usleep((useconds_t)(rand() % 40000));
        ck_assert(kill(pid, SIGKILL) == 0);
        const struct said said = last_said(fds[0]);
        int status = 0;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFSIGNALED(status), "round %d: the worker ended by itself: %d", round,
                      WEXITSTATUS(status));

        const int state = look_apart();
        const int before = said.step < 0 ? state_after((next + STEPS - 1) % STEPS)
                                         : state_after((said.step + STEPS - 1) % STEPS);
        const int after = said.step < 0 ? before : state_after(said.step);
        ck_assert_msg(state == after || (said.phase == 'b' && state == before),
                      "round %d: after '%c' of step %d the token says %d", round, said.phase, said.step,
                      state);
        next = state; /* no key: make it; pre-active: activate it; and so on */
    }
    token_remove(&fixture);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/key kill");
    TCase *tc = tcase_create("key kill");
    tcase_set_timeout(tc, 600);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, killed_worker_leaves_a_sound_token, 0, TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
