#include "card-emu/psam/serve.h"

#include "apdu/address.h"
#include "apdu/reader.h"
#include "apdu/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECONNECT_MS 1000

static enum err_code control(struct chip *chip, int fd, uint8_t what, bool *powered, struct err *e)
{
    switch (what) {
    case READER_ATR:
        return reader_send(fd, chip_atr, sizeof chip_atr, e);
    case READER_OFF:
    case READER_ON:
    case READER_RESET:
        chip_reset(chip);
        *powered = what != READER_OFF;
        return ERR_OK;
    default:
        return err_set(e, ERR_INPUT, "unknown control %02X from the reader", what);
    }
}

static enum err_code one_message(struct chip *chip, int fd, bool *powered, bool *out_closed, struct err *e)
{
    uint8_t message[READER_MESSAGE_MAX], response[APDU_RESPONSE_MAX];
    size_t len = 0;
    TRY(reader_receive(fd, -1, message, &len, e));
    *out_closed = len == 0;
    if (len == 0)
        return ERR_OK;
    if (len == 1)
        return control(chip, fd, message[0], powered, e);
    static const uint8_t unpowered[] = {SW_NO_LOGICAL_CHANNEL >> 8, SW_NO_LOGICAL_CHANNEL & 0xFF};
    if (!*powered)
        return reader_send(fd, unpowered, sizeof unpowered, e);
    const size_t response_len = chip_answer(chip, message, len, response);
    const enum err_code code = reader_send(fd, response, response_len, e);
    secret_wipe(message, sizeof message);
    secret_wipe(response, sizeof response);
    return code;
}

void serve_reader(struct chip *chip, int fd)
{
    struct err e = {0};
    bool powered = false, closed = false;
    enum err_code code = ERR_OK;
    reader_tune(fd);
    while (code == ERR_OK && !closed)
        code = one_message(chip, fd, &powered, &closed, &e);
    if (code != ERR_OK)
        log_failure(LOG_WARN, "reader's line ended", &e);
    chip_reset(chip);
}

enum err_code serve_listen(struct chip *chip, const char *address, struct err *e)
{
    int listener = -1, port = 0;
    TRY(address_listen(address, &listener, &port, e));
    log_event(LOG_INFO, "listening for a reader", LOG_STR("address", address), LOG_INT("port", port));
    for (;;) {
        const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            serve_reader(chip, fd);
            close(fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            close(listener);
            return err_errno(e, "accept at %s", address);
        }
    }
}

enum err_code serve_connect(struct chip *chip, const char *address, struct err *e)
{
    for (;;) {
        int fd = -1;
        const enum err_code code = address_connect(address, RECONNECT_MS, &fd, e);
        if (code == ERR_OK) {
            log_event(LOG_INFO, "card is in the reader", LOG_STR("address", address));
            serve_reader(chip, fd);
            close(fd);
        } else if (code != ERR_UNAVAILABLE) {
            return code;
        }
        clock_sleep_ms(RECONNECT_MS);
    }
}
