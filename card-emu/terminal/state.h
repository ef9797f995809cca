/* What a terminal remembers without power: batch, trace counter, version of its working keys. One text line
 * in a file that is replaced atomically, so that a trace number is never used twice. Main thread. */
#ifndef POSWARD_CARD_EMU_TERMINAL_STATE_H
#define POSWARD_CARD_EMU_TERMINAL_STATE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct terminal_state {
    unsigned batch, trace; /* 1..999999; trace: the last one used, 0: none yet */
    unsigned key_version;  /* of the working keys in the card, 0: never signed in */
    bool has_tdk;          /* tracks are enciphered */
};

/* A file that does not exist gives batch 1, trace 0. ERR_CHECK not a terminal's file. */
enum err_code state_load(const char *path, struct terminal_state *out_state, struct err *e) MUST_CHECK;
enum err_code state_save(const char *path, const struct terminal_state *state, struct err *e) MUST_CHECK;
/* Count on and save, before the number is used. After 999999 comes 1. */
enum err_code state_next_trace(const char *path, struct terminal_state *state, struct err *e) MUST_CHECK;

#endif
