#include "apdu/reader.h"

#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LENGTH_BYTES 2

void reader_tune(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* vpcd writes length and body apart: without an immediate ACK its Nagle waits 40 ms for ours. The kernel
 * forgets the option, so it is set before each header. */
static void ack_at_once(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static enum err_code wait_readable(int fd, int64_t deadline_ms, struct err *e)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const int64_t left = deadline_ms < 0 ? -1 : deadline_ms - clock_monotonic_ms();
        if (deadline_ms >= 0 && left <= 0)
            return err_set(e, ERR_TIMEOUT, "the card did not answer in time");
        const int n = poll(&p, 1, (int)left);
        if (n > 0)
            return ERR_OK;
        if (n < 0 && errno != EINTR)
            return err_errno(e, "poll");
    }
}

/* Exactly `len` bytes; *out_got is less when the peer closed. */
static enum err_code read_exactly(int fd, int64_t deadline_ms, uint8_t *bytes, size_t len, size_t *out_got,
                                  struct err *e)
{
    size_t got = 0;
    while (got < len) {
        TRY(wait_readable(fd, deadline_ms, e));
        const ssize_t n = recv(fd, bytes + got, len - got, 0);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return err_errno(e, "reading from the card's line");
        got += n > 0 ? (size_t)n : 0;
    }
    *out_got = got;
    return ERR_OK;
}

enum err_code reader_receive(int fd, int timeout_ms, uint8_t out_bytes[READER_MESSAGE_MAX], size_t *out_len,
                             struct err *e)
{
    const int64_t deadline_ms = timeout_ms < 0 ? -1 : clock_monotonic_ms() + timeout_ms;
    uint8_t head[LENGTH_BYTES];
    size_t got = 0;
    ack_at_once(fd);
    TRY(read_exactly(fd, deadline_ms, head, LENGTH_BYTES, &got, e));
    if (got == 0) {
        *out_len = 0;
        return ERR_OK;
    }
    const size_t len = (size_t)head[0] << 8 | head[1];
    if (got == LENGTH_BYTES && len == 0)
        return err_set(e, ERR_INPUT, "empty message on the card's line");
    if (got == LENGTH_BYTES && len > READER_MESSAGE_MAX)
        return err_set(e, ERR_LIMIT, "message of %zu bytes on the card's line; at most %d", len,
                       READER_MESSAGE_MAX);
    const bool whole_head = got == LENGTH_BYTES;
    if (whole_head)
        TRY(read_exactly(fd, deadline_ms, out_bytes, len, &got, e));
    if (!whole_head || got < len)
        return err_set(e, ERR_IO, "the card's line closed within a message");
    *out_len = len;
    return ERR_OK;
}

enum err_code reader_send(int fd, const uint8_t *bytes, size_t len, struct err *e)
{
    uint8_t wire[LENGTH_BYTES + READER_MESSAGE_MAX];
    if (len > READER_MESSAGE_MAX)
        return err_set(e, ERR_LIMIT, "message of %zu bytes for the card's line; at most %d", len,
                       READER_MESSAGE_MAX);
    wire[0] = (uint8_t)(len >> 8);
    wire[1] = (uint8_t)len;
    memcpy(wire + LENGTH_BYTES, bytes, len);
    size_t sent = 0;
    while (sent < LENGTH_BYTES + len) {
        const ssize_t n = send(fd, wire + sent, LENGTH_BYTES + len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return err_errno(e, "writing to the card's line");
        sent += n > 0 ? (size_t)n : 0;
    }
    return ERR_OK;
}
