#include "issuer/reader.h"

#include <string.h>

#define CARD_TIMEOUT_MS 5000 /* a card that writes its memory answers in far less */

static const struct reader_kind {
    const char *prefix;
    enum err_code (*connect)(struct card_link *link, const char *address, int timeout_ms, struct err *e);
} kinds[] = {
    {"tcp:", card_link_connect},
};

static const struct reader_kind *kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(name, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return &kinds[i];
    return NULL;
}

enum err_code reader_open(const char *name, struct card_link *out_card, struct err *e)
{
    const struct reader_kind *kind = kind_of(name);
    if (kind == NULL)
        return err_set(e, ERR_INPUT, "--reader must be tcp:HOST:PORT, got '%.60s'", name);
    struct card_link card = {0};
    enum err_code code = kind->connect(&card, name + strlen(kind->prefix), CARD_TIMEOUT_MS, e);
    if (code == ERR_OK)
        code = card_power_on(&card, e);
    if (code != ERR_OK) {
        card_link_drop(&card);
        return err_context(e, "reader %.60s", name);
    }
    *out_card = card;
    return ERR_OK;
}
