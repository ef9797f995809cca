/* The bank's accounts and what was booked on them. SQLite, WAL, synchronous=FULL; each call is one
 * transaction, so a process that dies has booked all of it or nothing. Any thread (one at a time inside).
 * ERR_IO: nothing was booked. */
#ifndef POSWARD_CARD_EMU_BANK_LEDGER_H
#define POSWARD_CARD_EMU_BANK_LEDGER_H

#include "card-emu/bank/pins.h"

#define LEDGER_PIN_TRIES 3

struct ledger;

/* ERR_STATE: another process has it open, or it is another program's file. */
enum err_code ledger_open(const char *path, struct ledger **out_ledger, struct err *e) MUST_CHECK;
/* Accepts NULL. */
void ledger_free(struct ledger *ledger);

struct ledger_account {
    char pan[20];
    uint8_t pin_check[PINS_CHECK_BYTES];
    char expiry[5]; /* YYMM, "" never */
    int64_t balance;
};
/* Nothing happens when there is such an account already. */
enum err_code ledger_open_account(struct ledger *ledger, const struct ledger_account *account,
                                  struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND: no such account. */
enum err_code ledger_balance(struct ledger *ledger, const char *pan, int64_t *out_balance,
                             struct err *e) MUST_CHECK;

/* What makes a transaction one. */
struct ledger_key {
    char acquirer[12], terminal_id[9], batch[7], trace[7];
};
enum ledger_pin { LEDGER_PIN_NONE, LEDGER_PIN_GIVEN, LEDGER_PIN_UNREADABLE };
struct ledger_purchase {
    struct ledger_key key;
    char pan[20];
    int64_t amount;
    char today[5];  /* YYMM, for the expiry date */
    char expiry[5]; /* as the card says, "" not known */
    enum ledger_pin pin;
    uint8_t pin_check[PINS_CHECK_BYTES];
};
struct ledger_answer {
    char response_code[3], authorization[7], reference[13];
};
/* A repeat gets the answer of the first; the same key with another card or amount 94; a key that was reversed
 * before it came 68. Declines are booked too. */
enum err_code ledger_purchase(struct ledger *ledger, const struct ledger_purchase *purchase,
                              struct ledger_answer *out_answer, struct err *e) MUST_CHECK;
/* Undo, once. When there is nothing to undo the key is taken, so that a late original is refused. */
enum err_code ledger_reverse(struct ledger *ledger, const struct ledger_key *key, bool *out_undone,
                             struct err *e) MUST_CHECK;

struct ledger_counts {
    uint64_t authorized, declined, reversed, accounts;
};
enum err_code ledger_count(struct ledger *ledger, struct ledger_counts *out_counts, struct err *e) MUST_CHECK;

#endif
