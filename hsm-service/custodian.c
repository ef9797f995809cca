#include "hsm-service/custodian.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CTRL_C 3
#define CLEAR  "\033[H\033[2J\033[3J" /* home, screen, scroll-back */

enum err_code custodian_open(struct custodian_terminal *t, struct err *e)
{
    t->fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (t->fd < 0)
        return err_errno(e, "no terminal to type components at; name files with --component");
    return ERR_OK;
}

void custodian_terminal_drop(struct custodian_terminal *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

/* Byte by byte into locked memory: no stream keeps a copy. */
static enum err_code read_line(int fd, struct secret *line, struct err *e)
{
    line->len = 0;
    for (;;) {
        uint8_t c = 0;
        const ssize_t got = read(fd, &c, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || c == CTRL_C)
            return err_set(e, ERR_CANCELLED, "the entry was broken off; nothing was loaded");
        if (c == '\n')
            return ERR_OK;
        if (line->len == SECRET_CAPACITY)
            return err_set(e, ERR_INPUT, "the line is longer than any component");
        line->bytes[line->len++] = c;
    }
}

/* Without echo, and with Ctrl-C as a character, so that the terminal is always put back. */
static enum err_code read_hidden(struct custodian_terminal *t, const char *prompt, struct secret *line,
                                 struct err *e)
{
    struct termios before, hidden;
    if (tcgetattr(t->fd, &before) != 0)
        return err_errno(e, "cannot read the terminal's settings");
    hidden = before;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ISIG);
    if (tcsetattr(t->fd, TCSAFLUSH, &hidden) != 0)
        return err_errno(e, "cannot switch the terminal's echo off");
    dprintf(t->fd, "%s", prompt);
    const enum err_code code = read_line(t->fd, line, e);
    (void)tcsetattr(t->fd, TCSAFLUSH, &before);
    dprintf(t->fd, "\n");
    return code;
}

static bool same(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && a->len > 0 && secret_equal(a->bytes, b->bytes, a->len);
}

enum err_code custodian_ask(struct custodian_terminal *t, unsigned number, unsigned count, size_t hex_digits,
                            struct secret *out_text, struct err *e)
{
    AUTO(secret) first = {0};
    AUTO(secret) second = {0};
    TRY(secret_init(&first, e));
    TRY(secret_init(&second, e));
    dprintf(t->fd, "Custodian %u of %u: component of %zu hexadecimal digits. It is not shown.\n", number,
            count, hex_digits);
    for (;;) {
        TRY(read_hidden(t, "Component: ", &first, e));
        TRY(read_hidden(t, "Once more: ", &second, e));
        if (same(&first, &second))
            break;
        custodian_refuse(t, "the two entries differ");
    }
    *out_text = first;
    first = (struct secret){0};
    return ERR_OK;
}

void custodian_refuse(struct custodian_terminal *t, const char *note)
{
    dprintf(t->fd, "Not taken: %s. Please enter it again.\n", note);
}

enum err_code custodian_hand_over(struct custodian_terminal *t, unsigned number, const char *kcv,
                                  struct err *e)
{
    AUTO(secret) line = {0};
    TRY(secret_init(&line, e));
    dprintf(t->fd, "Check value of component %u: %s. Compare it, then press Enter; the screen is cleared.",
            number, kcv);
    TRY(read_line(t->fd, &line, e));
    dprintf(t->fd, CLEAR);
    return ERR_OK;
}
