#include "card-emu/terminal/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COUNTER_MAX    999999
#define LINE_MAX_BYTES 128

static const char line_format[] = "posward-terminal 1 batch %u trace %u keys %u tdk %u end\n";

static void print(const struct terminal_state *state, char out_line[LINE_MAX_BYTES])
{
    snprintf(out_line, LINE_MAX_BYTES, line_format, state->batch, state->trace, state->key_version,
             state->has_tdk ? 1U : 0U);
}

/* False: not a line that print made. */
static bool parse(const char *line, struct terminal_state *out_state)
{
    struct terminal_state s = {0};
    unsigned tdk = 0;
    char again[LINE_MAX_BYTES];
    /* NOLINTNEXTLINE(cert-err34-c): a number that is too large, or signed, does not print as it was read */
    if (sscanf(line, line_format, &s.batch, &s.trace, &s.key_version, &tdk) != 4)
        return false;
    s.has_tdk = tdk == 1;
    print(&s, again);
    if (strcmp(line, again) != 0)
        return false;
    *out_state = s;
    return true;
}

enum err_code state_load(const char *path, struct terminal_state *out_state, struct err *e)
{
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT) {
        *out_state = (struct terminal_state){.batch = 1};
        return ERR_OK;
    }
    if (file == NULL)
        return err_errno(e, "cannot open %s", path);
    char line[LINE_MAX_BYTES] = {0};
    (void)!fread(line, 1, sizeof line - 1, file);
    fclose(file);
    struct terminal_state s = {0};
    if (!parse(line, &s) || s.batch == 0 || s.batch > COUNTER_MAX || s.trace > COUNTER_MAX)
        return err_set(e, ERR_CHECK, "%s is damaged, or no terminal's state file", path);
    *out_state = s;
    return ERR_OK;
}

static enum err_code write_synced(int fd, const char *path, const char *line, struct err *e)
{
    enum err_code code = ERR_OK;
    const ssize_t len = (ssize_t)strlen(line);
    if (write(fd, line, (size_t)len) != len || fsync(fd) != 0)
        code = err_errno(e, "writing %s", path);
    close(fd);
    return code;
}

enum err_code state_save(const char *path, const struct terminal_state *state, struct err *e)
{
    char beside[PATH_MAX], line[LINE_MAX_BYTES];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return err_set(e, ERR_INPUT, "the path of the state file is too long");
    print(state, line);
    const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "cannot write %s", beside);
    TRY(write_synced(fd, beside, line, e));
    if (rename(beside, path) != 0)
        return err_errno(e, "replacing %s", path);
    return ERR_OK;
}

enum err_code state_next_trace(const char *path, struct terminal_state *state, struct err *e)
{
    struct terminal_state next = *state;
    next.trace = next.trace >= COUNTER_MAX ? 1 : next.trace + 1;
    TRY(state_save(path, &next, e));
    *state = next;
    return ERR_OK;
}
