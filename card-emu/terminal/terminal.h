/* The emulated POS terminal: its settings, its parts, its flows. One thread. */
#ifndef POSWARD_CARD_EMU_TERMINAL_TERMINAL_H
#define POSWARD_CARD_EMU_TERMINAL_TERMINAL_H

#include "card-emu/terminal/host.h"
#include "card-emu/terminal/pad.h"
#include "card-emu/terminal/state.h"
#include "iso8583/pack.h"

#include <stdbool.h>

struct terminal_options {
    const char *command, *posp, *psam, *terminal_id, *merchant_id, *state, *suite, *keys;
    const char *pan, *expiry, *track2, *pin;
    int64_t amount, count, seconds, timeout_ms;
    bool tamper_amount, repeat, json, track_only, send_psam_number;
};

struct terminal {
    const struct terminal_options *options;
    struct terminal_state state;
    struct pad pad;
    struct host host;
};

/* What became of a command; the program's exit status. */
enum outcome {
    OUTCOME_DONE = 0,   /* F39 00; sign-in: the card has the keys too */
    OUTCOME_FAILED = 1, /* line, card or answer failed: `err` says how */
    OUTCOME_USAGE = 2,
    OUTCOME_DECLINED = 3,    /* another F39 */
    OUTCOME_CARD_REFUSED = 4 /* the card did not take the working keys */
};

/* A message that has been sent may be sent again, byte for byte. */
struct sent_message {
    struct iso_message message; /* as it stands on the wire */
    uint8_t wire[ISO_MESSAGE_BYTES_MAX];
    size_t wire_len;
};

struct answer {
    struct iso_message message;
    const char *f39; /* in message */
};

/* messages.c: 0800 or 0820 with F11, F41, F42, F60. The trace number is counted on and saved. */
enum err_code message_management(struct terminal *t, const char *mti, const char *management,
                                 struct iso_message *m, struct err *e) MUST_CHECK;
/* A purchase with the trace number of t->state, enciphered and MACed by the card. */
enum err_code message_purchase(struct terminal *t, struct sent_message *out, struct err *e) MUST_CHECK;
enum err_code message_pack(const struct iso_message *m, struct sent_message *out, struct err *e) MUST_CHECK;
/* Send, receive, and check that the answer belongs to the message. `mac`: verify F64; an approval needs one.
 * ERR_CHECK an answer that does not fit or has a wrong MAC. */
enum err_code message_exchange(struct terminal *t, const struct sent_message *sent, bool mac,
                               struct answer *out_answer, struct err *e) MUST_CHECK;

/* flows.c, run.c: the commands. On failure `*out` stays OUTCOME_FAILED. */
typedef enum err_code terminal_flow(struct terminal *t, enum outcome *out, struct err *e);
terminal_flow flow_signin, flow_signoff, flow_echo, flow_purchase, flow_run;

#endif
