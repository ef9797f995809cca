#include "tests/support/token.h"

#include "tests/support/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define NSS_MODULE     "/usr/lib/x86_64-linux-gnu/libsoftokn3.so"

extern char **environ;

static const char *const kind_names[TOKEN_KIND_COUNT] = {[TOKEN_SOFTHSM] = "softhsm", [TOKEN_NSS] = "nss"};

const char *token_kind_name(enum token_kind kind)
{
    return kind_names[kind];
}

/* Not an assertion of Check: the fixture also serves programs that are no suite. */
static void must(bool right, const char *what)
{
    if (right)
        return;
    fprintf(stderr, "token fixture: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void write_file(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const size_t len = strlen(text);
    must(fd >= 0 && write(fd, text, len) == (ssize_t)len, path);
    close(fd);
}

static void run(const char *const *argv)
{
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid = 0;
    int status = -1;
    must(posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)(uintptr_t)argv, environ) == 0, argv[0]);
    posix_spawn_file_actions_destroy(&quiet);
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0, argv[0]);
}

static void use(const struct token_fixture *fixture)
{
    char path[96];
    if (fixture->kind != TOKEN_SOFTHSM)
        return;
    snprintf(path, sizeof path, "%s/softhsm2.conf", fixture->dir);
    setenv("SOFTHSM2_CONF", path, 1);
}

/* What depends on the directory's name. */
static void place(struct token_fixture *f)
{
    char path[96], conf[256];
    snprintf(f->pin_path, sizeof f->pin_path, "%s/pin", f->dir);
    snprintf(f->lock_path, sizeof f->lock_path, "%s/lock", f->dir);
    snprintf(
        f->init_string, sizeof f->init_string,
        "configdir='sql:%s/db' dbTokenDescription='%s' certPrefix='' keyPrefix='' secmod='' flags=noModDB",
        f->dir, TOKEN_LABEL);
    snprintf(path, sizeof path, "%s/softhsm2.conf", f->dir);
    snprintf(conf, sizeof conf,
             "directories.tokendir = %s/db\nobjectstore.backend = file\nlog.level = ERROR\n", f->dir);
    write_file(path, conf);
    write_file(f->pin_path, TOKEN_PIN "\n");
}

static void fill_options(struct token_fixture *f)
{
    const bool nss = f->kind == TOKEN_NSS;
    f->options = (struct tok_options){.module_path = nss ? NSS_MODULE : SOFTHSM_MODULE,
                                      .token_label = TOKEN_LABEL,
                                      .pin_path = f->pin_path,
                                      .init_string = nss ? f->init_string : NULL,
                                      .lock_path = f->lock_path,
                                      .session_count = 2};
}

static void make_database(const struct token_fixture *f)
{
    char db[96], sql[96];
    snprintf(db, sizeof db, "%s/db", f->dir);
    snprintf(sql, sizeof sql, "sql:%s/db", f->dir);
    must(mkdir(db, 0700) == 0, db);
    const char *const softhsm[] = {"softhsm2-util", "--init-token", "--free", "--label", TOKEN_LABEL,
                                   "--so-pin",      "posward-so",   "--pin",  TOKEN_PIN, NULL};
    const char *const nss[] = {"certutil", "-N", "-d", sql, "-f", f->pin_path, NULL};
    use(f);
    run(f->kind == TOKEN_SOFTHSM ? softhsm : nss);
}

static void make_directory(struct token_fixture *f, enum token_kind kind)
{
    *f = (struct token_fixture){.kind = kind};
    suite_scratch_name("token", f->dir, sizeof f->dir);
    must(mkdtemp(f->dir) != NULL, f->dir);
    /* A key database of NSS hardens its PIN for seconds otherwise. */
    setenv("NSS_MAX_MP_PBE_ITERATION_COUNT", "1000", 1);
}

void token_make(struct token_fixture *out_fixture, enum token_kind kind)
{
    make_directory(out_fixture, kind);
    place(out_fixture);
    make_database(out_fixture);
}

void token_copy(struct token_fixture *out_fixture, const struct token_fixture *from)
{
    char source[96], target[96];
    make_directory(out_fixture, from->kind);
    place(out_fixture);
    snprintf(source, sizeof source, "%s/db", from->dir);
    snprintf(target, sizeof target, "%s/db", out_fixture->dir);
    run((const char *const[]){"cp", "-a", source, target, NULL});
}

const struct tok_options *token_options(struct token_fixture *fixture)
{
    use(fixture);
    fill_options(fixture);
    return &fixture->options;
}

void token_remove(struct token_fixture *fixture)
{
    run((const char *const[]){"rm", "-rf", "--", fixture->dir, NULL});
}
