/* What posward-bank reads from its file. Rows and help: config.c; a documented sample:
 * deploy/config/bank.yaml. */
#ifndef POSWARD_CARD_EMU_BANK_CONFIG_H
#define POSWARD_CARD_EMU_BANK_CONFIG_H

#include "run/service.h"

#define BANK_COMPONENTS_MAX 9

/* One item of "zone_keys": the PIN key that the bank shares with the acquirer. */
struct zone_key_config {
    char *suite; /* "tdes", "aes128", "aes256" */
    int64_t version;
    struct conf_items components; /* struct component_config */
};
struct component_config {
    char *file;
};

/* One item of "accounts". */
struct account_config {
    char *pan, *pin, *expiry;
    int64_t balance;
};

struct bank_config {
    struct service_config service; /* first: run reads it */
    char *store_path, *pin_key_file, *issuer_id;
    bool require_pin;
    struct conf_items zone_keys, accounts;
};

extern const struct conf_row bank_config_rows[];

/* Suites, versions, files that are missing, card numbers, PINs. ERR_INPUT and ERR_IO name the key. `config`:
 * a struct bank_config. */
enum err_code bank_config_check(const void *config, struct err *e) MUST_CHECK;

#endif
