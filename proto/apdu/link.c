#include "apdu/link.h"

#include "apdu/address.h"
#include "apdu/psam.h"
#include "apdu/reader.h"
#include "apdu/status.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct socket_state {
    int fd, timeout_ms;
};

static enum err_code receive(const struct socket_state *s, uint8_t *out_bytes, size_t capacity,
                             size_t *out_len, struct err *e)
{
    uint8_t message[READER_MESSAGE_MAX];
    size_t len = 0;
    TRY(reader_receive(s->fd, s->timeout_ms, message, &len, e));
    if (len == 0)
        return err_set(e, ERR_IO, "the card was removed: its line closed");
    if (len > capacity)
        return err_set(e, ERR_INPUT, "answer of %zu bytes from the card; at most %zu", len, capacity);
    memcpy(out_bytes, message, len);
    *out_len = len;
    return ERR_OK;
}

static enum err_code socket_power_on(void *state, uint8_t out_atr[CARD_ATR_MAX], size_t *out_len,
                                     struct err *e)
{
    const struct socket_state *s = state;
    TRY(reader_send(s->fd, (const uint8_t[]){READER_ON}, 1, e));
    TRY(reader_send(s->fd, (const uint8_t[]){READER_ATR}, 1, e));
    return receive(s, out_atr, CARD_ATR_MAX, out_len, e);
}

static void socket_power_off(void *state)
{
    const struct socket_state *s = state;
    struct err ignored;
    (void)!reader_send(s->fd, (const uint8_t[]){READER_OFF}, 1, &ignored);
}

static enum err_code socket_exchange(void *state, const uint8_t *command, size_t len,
                                     uint8_t out_response[APDU_RESPONSE_MAX], size_t *out_len, struct err *e)
{
    const struct socket_state *s = state;
    TRY(reader_send(s->fd, command, len, e));
    return receive(s, out_response, APDU_RESPONSE_MAX, out_len, e);
}

static void socket_close(void *state)
{
    struct socket_state *s = state;
    close(s->fd);
    free(s);
}

static const struct card_transport socket_transport = {
    .power_on = socket_power_on,
    .power_off = socket_power_off,
    .exchange = socket_exchange,
    .close = socket_close,
};

enum err_code card_link_connect(struct card_link *link, const char *address, int timeout_ms, struct err *e)
{
    struct socket_state *s = malloc(sizeof *s);
    if (s == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a card link");
    s->timeout_ms = timeout_ms;
    const enum err_code code = address_connect(address, timeout_ms, &s->fd, e);
    if (code != ERR_OK) {
        free(s);
        return code;
    }
    reader_tune(s->fd);
    *link = (struct card_link){.transport = &socket_transport, .state = s};
    return ERR_OK;
}

void card_link_drop(struct card_link *link)
{
    if (link->transport == NULL)
        return;
    link->transport->power_off(link->state);
    link->transport->close(link->state);
    *link = (struct card_link){0};
}

enum err_code card_power_on(struct card_link *link, struct err *e)
{
    return link->transport->power_on(link->state, link->atr, &link->atr_len, e);
}

static enum err_code exchange_once(struct card_link *link, const struct apdu_command *command,
                                   struct apdu_response *out_response, struct err *e)
{
    uint8_t bytes[APDU_COMMAND_MAX], answer[APDU_RESPONSE_MAX];
    size_t len = 0, answer_len = 0;
    TRY(apdu_command_build(command, bytes, &len, e));
    TRY(link->transport->exchange(link->state, bytes, len, answer, &answer_len, e));
    return apdu_response_parse(answer, answer_len, out_response, e);
}

static uint16_t length_in(uint16_t sw)
{
    return (sw & 0xFF) == 0 ? APDU_LE_ANY : sw & 0xFF;
}

enum err_code card_exchange(struct card_link *link, const struct apdu_command *command,
                            struct apdu_response *out_response, struct err *e)
{
    struct apdu_response response;
    TRY(exchange_once(link, command, &response, e));
    if ((response.sw & 0xFF00) == SW_EXACT_LENGTH) {
        struct apdu_command again = *command;
        again.has_le = true;
        again.le = length_in(response.sw);
        TRY(exchange_once(link, &again, &response, e));
    }
    if ((response.sw & 0xFF00) == SW_MORE) {
        const struct apdu_command fetch = psam_get_response(length_in(response.sw));
        TRY(exchange_once(link, &fetch, &response, e));
    }
    *out_response = response;
    return ERR_OK;
}

enum err_code card_transmit(struct card_link *link, const struct apdu_command *command,
                            struct apdu_response *out_response, struct err *e)
{
    struct apdu_response response;
    TRY(card_exchange(link, command, &response, e));
    if (response.sw != SW_OK)
        return err_native(e, ERR_CHECK, response.sw, "card answered %04X: %s", response.sw,
                          apdu_sw_text(response.sw));
    *out_response = response;
    return ERR_OK;
}
