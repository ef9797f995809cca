#include "card-emu/crypto/component.h"

#include "base/secret.h"

enum err_code emu_component_add(const char *path, uint8_t *key, size_t len, struct err *e)
{
    AUTO(secret) text = {0};
    AUTO(secret) part = {0};
    TRY(secret_init_file(&text, path, e));
    if (secret_init_hex(&part, &text, len, e) != ERR_OK)
        return err_context(e, "component %.80s", path);
    for (size_t i = 0; i < len; i++)
        key[i] ^= part.bytes[i];
    return ERR_OK;
}
