#include "hsm-service/components.h"

#include "base/hex.h"

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

/* Hex digits of `text` without spaces into `part`. */
static enum err_code decode(const struct secret *text, size_t key_bytes, struct secret *part, struct err *e)
{
    size_t digits = 0;
    for (size_t i = 0; i < text->len; i++) {
        const char c = (char)text->bytes[i];
        if (c == ' ')
            continue;
        const int value = hex_digit(c);
        if (value < 0)
            return err_set(e, ERR_INPUT, "character %zu is no hexadecimal digit", i + 1);
        if (digits / 2 >= key_bytes)
            return err_set(e, ERR_INPUT, "it is longer than %zu hexadecimal digits", 2 * key_bytes);
        const uint8_t high = (uint8_t)(digits % 2 == 0 ? 0 : part->bytes[digits / 2] << 4);
        part->bytes[digits / 2] = (uint8_t)(high | value);
        digits++;
    }
    if (digits != 2 * key_bytes)
        return err_set(e, ERR_INPUT, "it has %zu hexadecimal digits; this key's components have %zu", digits,
                       2 * key_bytes);
    part->len = key_bytes;
    return ERR_OK;
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
    if (c->key_bytes > SECRET_CAPACITY)
        return err_set(e, ERR_INTERNAL, "no key has %zu bytes", c->key_bytes);
    struct secret *const part = &c->parts[c->count];
    TRY(secret_init(part, e));
    enum err_code code = decode(text, c->key_bytes, part, e);
    if (code == ERR_OK)
        code = check_part(part, odd_parity, e);
    if (code != ERR_OK)
        secret_drop(part);
    else
        c->count++;
    return code;
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
