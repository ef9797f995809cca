#include "hsm-service/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t MAGIC[2] = {'P', 'K'};

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static uint64_t get(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static uint8_t *append(uint8_t *at, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(at, bytes, len);
    return at + len;
}

enum err_code ipc_encode(const struct ipc_frame *frame, uint8_t *out_packet, size_t capacity, size_t *out_len,
                         struct err *e)
{
    if (frame->identity_len > IPC_IDENTITY_BYTES)
        return err_set(e, ERR_LIMIT, "the caller's identity has %zu characters; at most %d are carried",
                       frame->identity_len, IPC_IDENTITY_BYTES);
    if (frame->traceparent_len > IPC_TRACEPARENT_BYTES)
        return err_set(e, ERR_LIMIT, "traceparent has %zu characters; at most %d are carried",
                       frame->traceparent_len, IPC_TRACEPARENT_BYTES);
    if (frame->refused_len != 0 && frame->refused_len != IPC_REFUSED_BYTES)
        return err_set(e, ERR_INTERNAL, "refused items of %zu bytes", frame->refused_len);
    if (frame->pin_use_count > IPC_PIN_USES_MAX)
        return err_set(e, ERR_INTERNAL, "%zu PIN uses in a packet", frame->pin_use_count);
    if (frame->body_len > IPC_BODY_BYTES)
        return err_set(e, ERR_LIMIT, "the message has %zu bytes; at most %d are carried", frame->body_len,
                       IPC_BODY_BYTES);
    const size_t uses_len = frame->pin_use_count * IPC_PIN_USE_BYTES;
    const size_t len = IPC_HEADER_BYTES + frame->identity_len + frame->traceparent_len + frame->refused_len +
                       uses_len + frame->body_len;
    if (len > capacity)
        return err_set(e, ERR_INTERNAL, "a packet of %zu bytes does not fit into %zu", len, capacity);
    memcpy(out_packet, MAGIC, sizeof MAGIC);
    put(out_packet + 2, IPC_VERSION, 1);
    put(out_packet + 3, frame->kind, 1);
    put(out_packet + 4, frame->method, 2);
    put(out_packet + 6, frame->error, 1);
    put(out_packet + 7, frame->identity_len, 1);
    put(out_packet + 8, frame->traceparent_len, 1);
    put(out_packet + 9, frame->refused_len, 1);
    put(out_packet + 10, frame->pin_use_count, 2);
    put(out_packet + 12, frame->body_len, 4);
    put(out_packet + 16, frame->request_id, 8);
    put(out_packet + 24, (uint64_t)frame->deadline_ms, 8);
    put(out_packet + 32, frame->operations, 4);
    put(out_packet + 36, (uint64_t)frame->native, 8);
    put(out_packet + 44, 0, 4);
    uint8_t *at = append(out_packet + IPC_HEADER_BYTES, frame->identity, frame->identity_len);
    at = append(at, frame->traceparent, frame->traceparent_len);
    at = append(at, frame->refused, frame->refused_len);
    at = append(at, frame->pin_uses, uses_len);
    append(at, frame->body, frame->body_len);
    *out_len = len;
    return ERR_OK;
}

/* A failure carries a class, nothing else does. */
static enum err_code check_kind(uint64_t kind, uint64_t error, struct err *e)
{
    if (kind < IPC_REQUEST || kind >= IPC_KIND_COUNT)
        return err_set(e, ERR_INPUT, "packet of unknown kind %d", (int)kind);
    const int fails = kind == IPC_FAILURE || kind == IPC_START_FAILED;
    if (error >= ERR_CODE_COUNT || (error != ERR_OK) != fails)
        return err_set(e, ERR_INPUT, "packet of kind %d with error class %d", (int)kind, (int)error);
    return ERR_OK;
}

static enum err_code check_header(const uint8_t *packet, size_t len, struct err *e)
{
    if (len < IPC_HEADER_BYTES)
        return err_set(e, ERR_INPUT, "packet of %zu bytes is shorter than its header", len);
    if (packet[0] != MAGIC[0] || packet[1] != MAGIC[1] || packet[2] != IPC_VERSION)
        return err_set(e, ERR_INPUT, "packet is not of version %d of this protocol", IPC_VERSION);
    TRY(check_kind(packet[3], packet[6], e));
    if (get(packet + 44, 4) != 0)
        return err_set(e, ERR_INPUT, "packet has reserved bytes that are not zero");
    const uint64_t identity = packet[7], traceparent = packet[8], refused = packet[9],
                   uses = get(packet + 10, 2), body = get(packet + 12, 4);
    if (identity > IPC_IDENTITY_BYTES || traceparent > IPC_TRACEPARENT_BYTES || body > IPC_BODY_BYTES ||
        uses > IPC_PIN_USES_MAX || (refused != 0 && refused != IPC_REFUSED_BYTES))
        return err_set(e, ERR_INPUT, "packet has a part that is too long");
    if (IPC_HEADER_BYTES + identity + traceparent + refused + uses * IPC_PIN_USE_BYTES + body != len)
        return err_set(e, ERR_INPUT, "packet has %zu bytes, but its parts say otherwise", len);
    return ERR_OK;
}

enum err_code ipc_failure(const struct ipc_frame *frame, struct err *e)
{
    return err_native(e, frame->error, (long)frame->native, "%.*s",
                      (int)(frame->body_len < sizeof e->note ? frame->body_len : sizeof e->note - 1),
                      (const char *)frame->body);
}

enum { USE_ITEM = 0, USE_FLAGS = 2, USE_ACCOUNT = 4 };
enum { FLAG_DECODED = 1, FLAG_FAILED = 2 };

void ipc_pin_use_pack(const struct ipc_pin_use *use, uint8_t out_bytes[IPC_PIN_USE_BYTES])
{
    put(out_bytes + USE_ITEM, use->item, 2);
    put(out_bytes + USE_FLAGS, (use->decoded ? FLAG_DECODED : 0U) | (use->failed ? FLAG_FAILED : 0U), 1);
    out_bytes[USE_FLAGS + 1] = 0;
    memcpy(out_bytes + USE_ACCOUNT, use->account, IPC_ACCOUNT_DIGITS);
}

struct ipc_pin_use ipc_pin_use_at(const struct ipc_frame *frame, size_t index)
{
    const uint8_t *const at = frame->pin_uses + index * IPC_PIN_USE_BYTES;
    struct ipc_pin_use use = {.item = (uint16_t)get(at + USE_ITEM, 2),
                              .decoded = (at[USE_FLAGS] & FLAG_DECODED) != 0,
                              .failed = (at[USE_FLAGS] & FLAG_FAILED) != 0};
    memcpy(use.account, at + USE_ACCOUNT, IPC_ACCOUNT_DIGITS);
    return use;
}

enum err_code ipc_decode(const uint8_t *packet, size_t len, struct ipc_frame *out_frame, struct err *e)
{
    TRY(check_header(packet, len, e));
    struct ipc_frame frame = {
        .kind = (enum ipc_kind)packet[3],
        .method = (uint16_t)get(packet + 4, 2),
        .error = (enum err_code)packet[6],
        .identity_len = packet[7],
        .traceparent_len = packet[8],
        .refused_len = packet[9],
        .pin_use_count = (size_t)get(packet + 10, 2),
        .body_len = (size_t)get(packet + 12, 4),
        .request_id = get(packet + 16, 8),
        .deadline_ms = (int64_t)get(packet + 24, 8),
        .operations = (uint32_t)get(packet + 32, 4),
        .native = (int64_t)get(packet + 36, 8),
    };
    const uint8_t *const texts = packet + IPC_HEADER_BYTES;
    if (frame.identity_len > 0)
        frame.identity = (const char *)texts;
    if (frame.traceparent_len > 0)
        frame.traceparent = (const char *)texts + frame.identity_len;
    const uint8_t *const refused = texts + frame.identity_len + frame.traceparent_len;
    if (frame.refused_len > 0)
        frame.refused = refused;
    if (frame.pin_use_count > 0)
        frame.pin_uses = refused + frame.refused_len;
    frame.body = refused + frame.refused_len + frame.pin_use_count * IPC_PIN_USE_BYTES;
    *out_frame = frame;
    return ERR_OK;
}

/* Room for one packet of the largest size with the kernel's own overhead, and better for a few. */
static enum err_code make_room(int fd, struct err *e)
{
    const int wanted = 4 * IPC_PACKET_BYTES;
    int bytes = 0;
    socklen_t len = sizeof bytes;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted); /* up to net.core.wmem_max */
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &len) != 0)
        return err_errno(e, "cannot read a socket's buffer size");
    if (bytes < IPC_PACKET_BYTES + 4096)
        return err_set(e, ERR_LIMIT,
                       "sockets hold %d bytes, a packet may have %d; raise net.core.wmem_max to 212992",
                       bytes, IPC_PACKET_BYTES);
    return ERR_OK;
}

enum err_code ipc_pair(int out_fds[2], struct err *e)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return err_errno(e, "cannot make a socket pair for a keeper");
    for (int i = 0; i < 2; i++) {
        if (make_room(fds[i], e) == ERR_OK)
            continue;
        close(fds[0]);
        close(fds[1]);
        return e->code;
    }
    memcpy(out_fds, fds, sizeof fds);
    return ERR_OK;
}

enum err_code ipc_send(int fd, const uint8_t *packet, size_t len, int wait, struct err *e)
{
    ssize_t sent;
    do
        sent = send(fd, packet, len, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)len)
        return ERR_OK;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return err_set(e, ERR_LIMIT, "the other process does not take packets at the moment");
    if (errno == EPIPE || errno == ECONNRESET)
        return err_set(e, ERR_UNAVAILABLE, "the other process is gone");
    return err_errno(e, "cannot send a packet of %zu bytes", len);
}

enum err_code ipc_receive(int fd, uint8_t *out_packet, int wait, size_t *out_len, struct err *e)
{
    ssize_t got;
    do /* MSG_TRUNC: the packet's true length, so that one that was cut is noticed */
        got = recv(fd, out_packet, IPC_PACKET_BYTES, MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT));
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return err_set(e, ERR_LIMIT, "no packet is there");
    if (got < 0 && errno == ECONNRESET)
        got = 0;
    if (got < 0)
        return err_errno(e, "cannot receive a packet");
    if (got > IPC_PACKET_BYTES)
        return err_set(e, ERR_INPUT, "packet of %zd bytes; at most %d are taken", got, IPC_PACKET_BYTES);
    *out_len = (size_t)got;
    return ERR_OK;
}
