/* The line to POSP: one TCP connection, one message out, one message back. One thread.
 * After any failure the connection is closed: a late answer must not be taken for the next one. */
#ifndef POSWARD_CARD_EMU_TERMINAL_HOST_H
#define POSWARD_CARD_EMU_TERMINAL_HOST_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct host {
    const char *address;
    int timeout_ms;
    int fd; /* -1: not connected */
};

/* Send a packed message in a frame and wait for the answer's message. Connects when needed.
 * ERR_UNAVAILABLE nobody there, ERR_TIMEOUT no answer, ERR_IO the line closed, ERR_INPUT not a frame. */
enum err_code host_exchange(struct host *host, const uint8_t *message, size_t len, uint8_t *out_answer,
                            size_t capacity, size_t *out_len, struct err *e) MUST_CHECK;
void host_drop(struct host *host);

#endif
