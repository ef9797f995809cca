/* A card in a reader: power it, send it commands. The emulator's socket now; PC/SC comes behind the same
 * vtable.
 *
 *   AUTO(card_link) card = {0};
 *   TRY(card_link_connect(&card, "127.0.0.1:7900", 2000, e));
 *   TRY(card_power_on(&card, e));
 *   TRY(card_transmit(&card, &command, &response, e));   // SW 9000 or ERR_CHECK
 *
 * Errors: ERR_UNAVAILABLE no card or reader, ERR_TIMEOUT it does not answer (drop the link then: an answer
 * may come late), ERR_IO the connection broke. A link belongs to one thread. */
#ifndef POSWARD_APDU_LINK_H
#define POSWARD_APDU_LINK_H

#include "apdu/apdu.h"

#define CARD_ATR_MAX 33

struct card_transport {
    /* Power up or reset, and give the ATR. */
    enum err_code (*power_on)(void *state, uint8_t out_atr[CARD_ATR_MAX], size_t *out_len, struct err *e);
    void (*power_off)(void *state);
    /* One command APDU to the card, one response APDU back. */
    enum err_code (*exchange)(void *state, const uint8_t *command, size_t len,
                              uint8_t out_response[APDU_RESPONSE_MAX], size_t *out_len, struct err *e);
    void (*close)(void *state);
};

struct card_link {
    const struct card_transport *transport; /* NULL: not connected */
    void *state;
    uint8_t atr[CARD_ATR_MAX];
    size_t atr_len;
};

/* Connect to an emulator that listens at "host:port" (vpcd's framing). ERR_INPUT an address that is none. */
enum err_code card_link_connect(struct card_link *link, const char *address, int timeout_ms,
                                struct err *e) MUST_CHECK;
/* Power off and close. Accepts a zeroed link. */
void card_link_drop(struct card_link *link);

enum err_code card_power_on(struct card_link *link, struct err *e) MUST_CHECK;
/* Send and receive; 61xx is followed by GET RESPONSE and 6Cxx by the same command with that Le, once each.
 * Any status word is a success here. */
enum err_code card_exchange(struct card_link *link, const struct apdu_command *command,
                            struct apdu_response *out_response, struct err *e) MUST_CHECK;
/* The same, but a status word other than 9000 is ERR_CHECK with its number in `native` and its text in the
 * note. */
enum err_code card_transmit(struct card_link *link, const struct apdu_command *command,
                            struct apdu_response *out_response, struct err *e) MUST_CHECK;

#endif
