/* The frame between front and keeper: one packet of a SOCK_SEQPACKET socket pair, so packets need no length
 * search.
 *
 * A frame is a fixed header (big-endian, IPC_HEADER_BYTES), the identity text, the traceparent text, the
 * refused items, the PIN uses, then the body: 0 magic "PK" | 2 version | 3 kind | 4 method (2) | 6 error
 * class (1) | 7 identity length (1) | 8 traceparent length (1) | 9 refused length (1) | 10 PIN uses (2) | 12
 * body length (4) | 16 request id (8) | 24 deadline (8) | 32 operations (4) | 36 native (8) | 44 zero (4).
 * Both ends are the same binary, yet each treats the other's packets as hostile: that is what the separation
 * is for. */
#ifndef POSWARD_HSM_SERVICE_IPC_H
#define POSWARD_HSM_SERVICE_IPC_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define IPC_VERSION           3
#define IPC_HEADER_BYTES      48
#define IPC_IDENTITY_BYTES    200 /* longest identity text; a longer one is refused by ipc_encode */
#define IPC_TRACEPARENT_BYTES 64
#define IPC_REFUSED_BYTES     32     /* a bit for each item of the largest batch */
#define IPC_REQUEST_BYTES     131072 /* the service's largest request */
#define IPC_PIN_USES_MAX      (8 * IPC_REFUSED_BYTES)
#define IPC_PIN_USE_BYTES     16
#define IPC_ACCOUNT_DIGITS    12
#define IPC_BODY_BYTES                                                                                       \
    262144 /* largest body: a batch of sign-ins is answered with more than it asks                           \
            */
#define IPC_PACKET_BYTES                                                                                     \
    (IPC_HEADER_BYTES + IPC_IDENTITY_BYTES + IPC_TRACEPARENT_BYTES + IPC_REFUSED_BYTES +                     \
     IPC_PIN_USES_MAX * IPC_PIN_USE_BYTES + IPC_BODY_BYTES)
#define IPC_READY_LINE_BYTES 200
#define IPC_KEEPER_FD        3 /* where a keeper finds its end */

enum ipc_kind {
    IPC_REQUEST = 1, /* front to keeper; body: the packed request */
    IPC_RESPONSE,    /* keeper to front; body: the packed response */
    IPC_FAILURE,     /* keeper to front; body: the note */
    IPC_READY,       /* keeper to front, once; body: a line that describes the token, then one for each key */
    IPC_START_FAILED, /* keeper to front, once, then it exits; body: the note */
    IPC_NOTICE,       /* keeper to front, any time; body: what the log and the audit log should know */
    IPC_KIND_COUNT
};

/* Services whose methods cross; the upper byte of a method id. The lower byte is the index in the descriptor.
 */
enum ipc_service { IPC_DATA_PLANE = 1, IPC_CONTROL = 2, IPC_INTERNAL = 3 };
/* Of IPC_INTERNAL, which is the front's own and no gRPC service. */
enum ipc_internal {
    IPC_SIGN_CHECKPOINT =
        1,             /* body: a digest of 32 bytes; answer: the audit key's point (65), signature (64) */
    IPC_KEY_ORDER = 2, /* body: a packed KeyOrder; answer: a packed KeyOutcome */
    IPC_PROBE = 3      /* body: none; answer: IPC_HEALTH_BYTES, when the token works */
};
#define IPC_TOKEN_AWAY 1
/* What a keeper says of itself, big-endian: sessions, idle ones, logins after the first, initialisations
 * after the first, blobs in the cache, room in the cache (4 each); cache hits, cache misses (8 each). */
#define IPC_HEALTH_BYTES           40
#define IPC_METHOD(service, index) ((uint16_t)((service) << 8 | (index)))

/* A PIN block that a keeper worked on, for the front to count before it lets the answer go. Packed: item (2)
 * | flags (1), bit 0 decoded, bit 1 failed | zero (1) | account (12 digits). */
struct ipc_pin_use {
    uint16_t item;                    /* of the batch; 0 for a call of its own */
    bool decoded;                     /* the block was looked into, not only passed on */
    bool failed;                      /* it did not decode, or its key's blob was altered */
    char account[IPC_ACCOUNT_DIGITS]; /* digits of the card number left of its check digit; not terminated */
};

struct ipc_frame {
    enum ipc_kind kind;
    uint16_t method;
    uint64_t request_id;
    int64_t deadline_ms;  /* of clock_monotonic_ms, which processes share; INT64_MAX: none */
    uint32_t operations;  /* response, failure: what it cost, in items; counts towards retirement */
    enum err_code error;  /* failure: its class; else ERR_OK */
    int64_t native;       /* failure: the CKR; response: IPC_TOKEN_AWAY when a part of it failed for that */
    const char *identity; /* not terminated; NULL when identity_len is 0 */
    size_t identity_len;
    const char *traceparent; /* not terminated; NULL when traceparent_len is 0 */
    size_t traceparent_len;
    const uint8_t *refused;  /* request: items of a batch that may not run, bit n % 8 of byte n / 8 */
    size_t refused_len;      /* 0 or IPC_REFUSED_BYTES */
    const uint8_t *pin_uses; /* response, failure: packed; see ipc_pin_use_at */
    size_t pin_use_count;
    const uint8_t *body;
    size_t body_len;
};

/* Lay `frame` out in out_packet[capacity]. ERR_LIMIT a part is too long. */
enum err_code ipc_encode(const struct ipc_frame *frame, uint8_t *out_packet, size_t capacity, size_t *out_len,
                         struct err *e) MUST_CHECK;
/* Read a packet; the frame's texts and body point into it. ERR_INPUT says what is wrong with it. */
enum err_code ipc_decode(const uint8_t *packet, size_t len, struct ipc_frame *out_frame,
                         struct err *e) MUST_CHECK;

/* The class, number and note of a frame that is no response, in `e`; returns the class. */
enum err_code ipc_failure(const struct ipc_frame *frame, struct err *e);
/* Of a decoded frame, below its pin_use_count. */
struct ipc_pin_use ipc_pin_use_at(const struct ipc_frame *frame, size_t index);
void ipc_pin_use_pack(const struct ipc_pin_use *use, uint8_t out_bytes[IPC_PIN_USE_BYTES]);

/* A connected pair, both ends close-on-exec, with room for the largest packet; ERR_LIMIT when the kernel
 * gives less. */
enum err_code ipc_pair(int out_fds[2], struct err *e) MUST_CHECK;
/* Send one packet. With `wait` false a full socket is ERR_LIMIT; a closed one is ERR_UNAVAILABLE. Any thread.
 */
enum err_code ipc_send(int fd, const uint8_t *packet, size_t len, int wait, struct err *e) MUST_CHECK;
/* Receive one packet into out_packet[IPC_PACKET_BYTES]. *out_len 0: the other end closed. With `wait` false
 * an empty socket is ERR_LIMIT. */
enum err_code ipc_receive(int fd, uint8_t *out_packet, int wait, size_t *out_len, struct err *e) MUST_CHECK;

#endif
