/* One message of a terminal in, one answer out. */
#ifndef POSWARD_POSP_DISPATCH_H
#define POSWARD_POSP_DISPATCH_H

#include "iso8583/processing.h"
#include "posp/posp.h"

#define ANSWER_BYTES 2048

/* A packed answer, without length, TPDU and header. */
struct answer {
    uint8_t bytes[ANSWER_BYTES];
    size_t len;
};

/* A request whose form and terminal have been checked. */
struct request {
    const struct iso_message *message;
    const uint8_t *bytes; /* the message as it came, for its MAC */
    size_t len;
    struct iso_f60 f60;
    struct store_device device;
    const struct suite_rules *rules; /* of the terminal's suite */
};

/* `message` is what stands behind TPDU and header. Every request gets an answer; an error means that no
 * answer is possible - it is no request at all - and that the connection should be closed. Blocks; any
 * thread. */
enum err_code dispatch(struct posp *posp, const uint8_t *message, size_t len, struct answer *out_answer,
                       struct err *e) MUST_CHECK;

#endif
