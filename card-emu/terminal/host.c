#include "card-emu/terminal/host.h"

#include "apdu/address.h"
#include "base/clock.h"
#include "base/secret.h"
#include "iso8583/frame.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct iso_envelope envelope = {.tpdu = {0x60, 0x00, 0x03, 0x00, 0x00},
                                             .header = {0x60, 0x31, 0x00, 0x31, 0x13, 0x01}};

void host_drop(struct host *host)
{
    if (host->fd >= 0)
        close(host->fd);
    host->fd = -1;
}

static enum err_code send_all(int fd, const uint8_t *bytes, size_t len, struct err *e)
{
    while (len > 0) {
        const ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return err_errno(e, "sending to POSP");
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return ERR_OK;
}

static enum err_code read_some(int fd, int64_t deadline_ms, uint8_t *bytes, size_t room, size_t *out_got,
                               struct err *e)
{
    const int64_t left = deadline_ms - clock_monotonic_ms();
    struct pollfd p = {.fd = fd, .events = POLLIN};
    *out_got = 0;
    if (left <= 0)
        return err_set(e, ERR_TIMEOUT, "POSP did not answer in time");
    const int ready = poll(&p, 1, (int)left);
    if (ready < 0 && errno != EINTR)
        return err_errno(e, "poll");
    if (ready <= 0)
        return ERR_OK;
    const ssize_t n = recv(fd, bytes, room, 0);
    if (n == 0)
        return err_set(e, ERR_IO, "POSP closed the line without an answer");
    if (n < 0 && errno != EINTR)
        return err_errno(e, "reading from POSP");
    *out_got = n > 0 ? (size_t)n : 0;
    return ERR_OK;
}

static enum err_code receive(struct host *host, uint8_t *buffer, size_t room, struct iso_frame *out_frame,
                             struct err *e)
{
    const int64_t deadline_ms = clock_monotonic_ms() + host->timeout_ms;
    size_t held = 0;
    do {
        size_t got = 0;
        TRY(read_some(host->fd, deadline_ms, buffer + held, room - held, &got, e));
        held += got;
        TRY(iso_frame_parse(buffer, held, room, out_frame, e));
    } while (out_frame->total == 0);
    if (out_frame->total != held)
        return err_set(e, ERR_INPUT, "POSP sent %zu bytes more than one answer", held - out_frame->total);
    return ERR_OK;
}

static enum err_code exchange(struct host *host, const uint8_t *message, size_t len, uint8_t *out_answer,
                              size_t capacity, size_t *out_len, struct err *e)
{
    uint8_t buffer[ISO_FRAME_BYTES_MAX];
    size_t wire_len = 0;
    struct iso_frame frame;
    if (host->fd < 0)
        TRY(address_connect(host->address, host->timeout_ms, &host->fd, e));
    TRY(iso_frame_build(&envelope, message, len, buffer, sizeof buffer, &wire_len, e));
    TRY(send_all(host->fd, buffer, wire_len, e));
    TRY(receive(host, buffer, sizeof buffer, &frame, e));
    const struct iso_envelope expected = iso_envelope_answer(&envelope);
    if (!secret_equal(frame.envelope.tpdu, expected.tpdu, sizeof expected.tpdu))
        return err_set(e, ERR_INPUT, "the answer's TPDU is not the request's with its addresses swapped");
    if (frame.message_len > capacity)
        return err_set(e, ERR_LIMIT, "answer of %zu bytes is longer than %zu", frame.message_len, capacity);
    memcpy(out_answer, frame.message, frame.message_len);
    *out_len = frame.message_len;
    return ERR_OK;
}

enum err_code host_exchange(struct host *host, const uint8_t *message, size_t len, uint8_t *out_answer,
                            size_t capacity, size_t *out_len, struct err *e)
{
    const enum err_code code = exchange(host, message, len, out_answer, capacity, out_len, e);
    if (code != ERR_OK)
        host_drop(host);
    return code;
}
