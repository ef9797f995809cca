#include "card-emu/bank/config.h"

#include "base/hex.h"

#include <string.h>
#include <unistd.h>

#define AT(type, member) .offset = offsetof(struct type, member)

static const struct conf_row component_rows[] = {
    {.key = "file",
     .type = CONF_STRING,
     AT(component_config, file),
     .required = true,
     .help = "File of mode 0400 or 0600 with the component in hexadecimal on its first line."},
    CONF_END,
};
static const struct conf_list component_list = {.rows = component_rows,
                                                .item_bytes = sizeof(struct component_config)};

static const struct conf_row zone_key_rows[] = {
    {.key = "suite",
     .type = CONF_STRING,
     AT(zone_key_config, suite),
     .required = true,
     .help = "tdes (PIN block format 0), aes128 or aes256 (format 4)."},
    {.key = "version",
     .type = CONF_INT,
     AT(zone_key_config, version),
     .fallback = "1",
     .least = 1,
     .most = 255,
     .help = "Version, as the HSM service counts it; a request that names none means the highest."},
    {.key = "components",
     .type = CONF_LIST,
     AT(zone_key_config, components),
     .most = BANK_COMPONENTS_MAX,
     .required = true,
     .list = &component_list,
     .help = "The key's components; their exclusive-or is the key."},
    CONF_END,
};
static const struct conf_list zone_key_list = {.rows = zone_key_rows,
                                               .item_bytes = sizeof(struct zone_key_config)};

static const struct conf_row account_rows[] = {
    {.key = "pan",
     .type = CONF_STRING,
     AT(account_config, pan),
     .required = true,
     .help = "Card number, 13 to 19 digits."},
    {.key = "pin",
     .type = CONF_STRING,
     AT(account_config, pin),
     .required = true,
     .help = "PIN of the new account, 4 to 12 digits. Kept only as a keyed check value."},
    {.key = "expiry",
     .type = CONF_STRING,
     AT(account_config, expiry),
     .help = "YYMM; absent: the card does not expire."},
    {.key = "balance",
     .type = CONF_INT,
     AT(account_config, balance),
     .fallback = "100000",
     .least = 0,
     .most = INT64_MAX / 2,
     .help = "Opening balance in minor units."},
    CONF_END,
};
static const struct conf_list account_list = {.rows = account_rows,
                                              .item_bytes = sizeof(struct account_config)};

const struct conf_row bank_config_rows[] = {
    SERVICE_CONFIG_ROWS("127.0.0.1:7010", "127.0.0.1:7104"),
    {.key = "store.path",
     .type = CONF_STRING,
     AT(bank_config, store_path),
     .required = true,
     .help = "SQLite file of accounts and ledger."},
    {.key = "pin_key_file",
     .type = CONF_STRING,
     AT(bank_config, pin_key_file),
     .help =
         "File of the key that PINs at rest are checked with, made when it is not there; absent: store.path "
         "with .pvk behind it."},
    {.key = "issuer_id",
     .type = CONF_STRING,
     AT(bank_config, issuer_id),
     .fallback = "01020000",
     .help = "Issuer identification in field 44 of answers."},
    {.key = "require_pin",
     .type = CONF_BOOL,
     AT(bank_config, require_pin),
     .fallback = "false",
     .help = "Decline purchases without a PIN (55)."},
    {.key = "zone_keys",
     .type = CONF_LIST,
     AT(bank_config, zone_keys),
     .most = 16,
     .list = &zone_key_list,
     .help = "Zone PIN keys shared with the acquirer."},
    {.key = "accounts",
     .type = CONF_LIST,
     AT(bank_config, accounts),
     .most = 100000,
     .list = &account_list,
     .help =
         "Accounts to open at start when they are not there yet; those that are keep their balance and PIN."},
    CONF_END,
};

static bool digits_between(const char *text, size_t least, size_t most)
{
    const size_t len = strlen(text);
    return len >= least && len <= most && digits_only(text, len);
}

static enum err_code check_zone_key(const struct zone_key_config *keys, size_t at, struct err *e)
{
    const struct zone_key_config *k = &keys[at];
    const struct component_config *components = k->components.items;
    if (strcmp(k->suite, "tdes") != 0 && strcmp(k->suite, "aes128") != 0 && strcmp(k->suite, "aes256") != 0)
        return err_set(e, ERR_INPUT, "zone_keys[%zu].suite must be tdes, aes128 or aes256", at);
    if (k->components.count == 0)
        return err_set(e, ERR_INPUT, "zone_keys[%zu].components is empty", at);
    for (size_t i = 0; i < k->components.count; i++)
        if (access(components[i].file, R_OK) != 0)
            return err_errno(e, "zone_keys[%zu].components[%zu].file %.80s", at, i, components[i].file);
    for (size_t i = 0; i < at; i++)
        if (strcmp(keys[i].suite, k->suite) == 0 && keys[i].version == k->version)
            return err_set(e, ERR_INPUT, "zone_keys[%zu] has suite and version of zone_keys[%zu]", at, i);
    return ERR_OK;
}

static enum err_code check_account(const struct account_config *a, size_t at, struct err *e)
{
    if (!digits_between(a->pan, 13, 19))
        return err_set(e, ERR_INPUT, "accounts[%zu].pan must be 13 to 19 digits", at);
    if (!digits_between(a->pin, 4, 12))
        return err_set(e, ERR_INPUT, "accounts[%zu].pin must be 4 to 12 digits", at);
    if (a->expiry != NULL && !digits_between(a->expiry, 4, 4))
        return err_set(e, ERR_INPUT, "accounts[%zu].expiry must be YYMM", at);
    return ERR_OK;
}

enum err_code bank_config_check(const void *context, struct err *e)
{
    const struct bank_config *config = context;
    if (strlen(config->issuer_id) > 25)
        return err_set(e, ERR_INPUT, "issuer_id is at most 25 characters");
    for (size_t i = 0; i < config->zone_keys.count; i++)
        TRY(check_zone_key(config->zone_keys.items, i, e));
    const struct account_config *accounts = config->accounts.items;
    for (size_t i = 0; i < config->accounts.count; i++)
        TRY(check_account(&accounts[i], i, e));
    return ERR_OK;
}
