#include "hsm-service/components.h"

void components_drop(struct components *c)
{
    for (size_t i = 0; i < COMPONENTS_MOST; i++)
        secret_drop(&c->parts[i]);
    *c = (struct components){0};
}

static bool all_zero(const struct secret *s)
{
    uint8_t any = 0;
    for (size_t i = 0; i < s->len; i++)
        any |= s->bytes[i];
    return any == 0;
}

static bool has_odd_parity(const struct secret *s)
{
    int odd = 1;
    for (size_t i = 0; i < s->len; i++)
        odd &= __builtin_parity(s->bytes[i]);
    return odd != 0;
}

static enum err_code check_part(const struct secret *part, bool odd_parity, struct err *e)
{
    if (all_zero(part))
        return err_set(e, ERR_INPUT, "it is all zeros, which adds nothing to the key");
    if (odd_parity && !has_odd_parity(part))
        return err_set(e, ERR_INPUT, "a byte of it has even parity: a digit may be wrong");
    return ERR_OK;
}

enum err_code components_add(struct components *c, const struct secret *text, bool odd_parity, struct err *e)
{
    if (c->count == COMPONENTS_MOST)
        return err_set(e, ERR_INPUT, "a key has at most %d components", COMPONENTS_MOST);
    AUTO(secret) part = {0};
    TRY(secret_init_hex(&part, text, c->key_bytes, e));
    TRY(check_part(&part, odd_parity, e));
    c->parts[c->count++] = part;
    part = (struct secret){0};
    return ERR_OK;
}

static enum err_code check_distinct(const struct components *c, struct err *e)
{
    if (c->count < COMPONENTS_LEAST)
        return err_set(e, ERR_INPUT,
                       "%zu component is given; no single custodian may hold a key: at least %d are needed",
                       c->count, COMPONENTS_LEAST);
    for (size_t i = 0; i < c->count; i++)
        for (size_t j = i + 1; j < c->count; j++)
            if (secret_equal(c->parts[i].bytes, c->parts[j].bytes, c->key_bytes))
                return err_set(e, ERR_INPUT, "components %zu and %zu are the same", i + 1, j + 1);
    return ERR_OK;
}

enum err_code components_combine(const struct components *c, struct secret *out_key, struct err *e)
{
    TRY(check_distinct(c, e));
    AUTO(secret) key = {0};
    TRY(secret_init_copy(&key, c->parts[0].bytes, c->key_bytes, e));
    for (size_t i = 1; i < c->count; i++)
        for (size_t at = 0; at < c->key_bytes; at++)
            key.bytes[at] ^= c->parts[i].bytes[at];
    if (all_zero(&key))
        return err_set(e, ERR_INPUT, "the components cancel each other: the key would be all zeros");
    *out_key = key;
    key = (struct secret){0};
    return ERR_OK;
}
