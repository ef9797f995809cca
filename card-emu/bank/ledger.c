#include "card-emu/bank/ledger_db.h"

#include "base/clock.h"
#include "base/secret.h"

#include <stdio.h>
#include <string.h>

enum entry_state { ENTRY_BOOKED = 1, ENTRY_UNDONE = 2, ENTRY_REFUSED_LATE = 3 };

struct entry {
    int64_t id, amount;
    char pan[20];
    struct ledger_answer answer;
    enum entry_state state;
};

static enum err_code book_account(struct ledger *l, void *context, struct err *e)
{
    const struct ledger_account *account = context;
    sqlite3_stmt *s;
    TRY(ledger_take(l, ACCOUNT_OPEN, &s, e));
    ledger_bind_text(s, 1, account->pan);
    sqlite3_bind_blob(s, 2, account->pin_check, sizeof account->pin_check, SQLITE_STATIC);
    ledger_bind_text(s, 3, account->expiry);
    sqlite3_bind_int64(s, 4, account->balance);
    return ledger_run(l, s, e);
}

enum err_code ledger_open_account(struct ledger *l, const struct ledger_account *account, struct err *e)
{
    struct ledger_account copy = *account;
    return ledger_book(l, book_account, &copy, e);
}

struct held {
    uint8_t pin_check[PINS_CHECK_BYTES];
    char expiry[5];
    int64_t balance;
    int wrong_tries;
};

static enum err_code get_account(struct ledger *l, const char *pan, struct held *out_held, struct err *e)
{
    sqlite3_stmt *s;
    bool row;
    TRY(ledger_take(l, ACCOUNT_GET, &s, e));
    ledger_bind_text(s, 1, pan);
    TRY(ledger_step(l, s, &row, e));
    if (!row)
        return err_set(e, ERR_NOT_FOUND, "no such account");
    if (sqlite3_column_bytes(s, 0) == PINS_CHECK_BYTES)
        memcpy(out_held->pin_check, sqlite3_column_blob(s, 0), PINS_CHECK_BYTES);
    ledger_column_text(s, 1, out_held->expiry, sizeof out_held->expiry);
    out_held->balance = sqlite3_column_int64(s, 2);
    out_held->wrong_tries = sqlite3_column_int(s, 3);
    sqlite3_reset(s);
    return ERR_OK;
}

struct balance {
    const char *pan;
    int64_t balance;
};

static enum err_code book_balance(struct ledger *l, void *context, struct err *e)
{
    struct balance *b = context;
    struct held held = {0};
    TRY(get_account(l, b->pan, &held, e));
    b->balance = held.balance;
    return ERR_OK;
}

enum err_code ledger_balance(struct ledger *l, const char *pan, int64_t *out_balance, struct err *e)
{
    struct balance b = {.pan = pan};
    TRY(ledger_book(l, book_balance, &b, e));
    *out_balance = b.balance;
    return ERR_OK;
}

static void bind_key(sqlite3_stmt *s, const struct ledger_key *key)
{
    ledger_bind_text(s, 1, key->acquirer);
    ledger_bind_text(s, 2, key->terminal_id);
    ledger_bind_text(s, 3, key->batch);
    ledger_bind_text(s, 4, key->trace);
}

/* out_entry->id 0: there is none. */
static enum err_code get_entry(struct ledger *l, const struct ledger_key *key, struct entry *out_entry,
                               struct err *e)
{
    sqlite3_stmt *s;
    bool row;
    *out_entry = (struct entry){.id = 0};
    TRY(ledger_take(l, ENTRY_GET, &s, e));
    bind_key(s, key);
    TRY(ledger_step(l, s, &row, e));
    if (!row)
        return ERR_OK;
    out_entry->id = sqlite3_column_int64(s, 0);
    ledger_column_text(s, 1, out_entry->pan, sizeof out_entry->pan);
    out_entry->amount = sqlite3_column_int64(s, 2);
    ledger_column_text(s, 3, out_entry->answer.response_code, sizeof out_entry->answer.response_code);
    ledger_column_text(s, 4, out_entry->answer.authorization, sizeof out_entry->answer.authorization);
    ledger_column_text(s, 5, out_entry->answer.reference, sizeof out_entry->answer.reference);
    out_entry->state = (enum entry_state)sqlite3_column_int(s, 6);
    sqlite3_reset(s);
    return ERR_OK;
}

static enum err_code put_entry(struct ledger *l, const struct ledger_key *key, const struct entry *entry,
                               int64_t *out_id, struct err *e)
{
    sqlite3_stmt *s;
    TRY(ledger_take(l, ENTRY_PUT, &s, e));
    bind_key(s, key);
    ledger_bind_text(s, 5, entry->pan);
    sqlite3_bind_int64(s, 6, entry->amount);
    ledger_bind_text(s, 7, entry->answer.response_code);
    sqlite3_bind_int(s, 8, (int)entry->state);
    sqlite3_bind_int64(s, 9, clock_wall_ms());
    TRY(ledger_run(l, s, e));
    *out_id = ledger_last_id(l);
    return ERR_OK;
}

static enum err_code add_to_account(struct ledger *l, enum ledger_sql which, const char *pan, int64_t value,
                                    struct err *e)
{
    sqlite3_stmt *s;
    TRY(ledger_take(l, which, &s, e));
    ledger_bind_text(s, 1, pan);
    sqlite3_bind_int64(s, 2, value);
    return ledger_run(l, s, e);
}

static bool has_expired(const struct held *held, const struct ledger_purchase *p)
{
    if (held->expiry[0] != '\0' && strcmp(held->expiry, p->today) < 0)
        return true;
    return held->expiry[0] != '\0' && p->expiry[0] != '\0' && strcmp(held->expiry, p->expiry) != 0;
}

/* The PIN's verdict, and the count of wrong tries with it. NULL: it is right, or there is none. */
static const char *judge_pin(const struct held *held, const struct ledger_purchase *p, int *tries)
{
    *tries = held->wrong_tries;
    if (p->pin == LEDGER_PIN_NONE)
        return NULL;
    if (held->wrong_tries >= LEDGER_PIN_TRIES)
        return "75";
    if (p->pin == LEDGER_PIN_UNREADABLE)
        return "99";
    const bool right = secret_equal(held->pin_check, p->pin_check, PINS_CHECK_BYTES);
    *tries = right ? 0 : held->wrong_tries + 1;
    return right ? NULL : "55";
}

static enum err_code decide(struct ledger *l, const struct ledger_purchase *p, const char **out_code,
                            struct err *e)
{
    struct held held = {0};
    int tries = 0;
    const enum err_code code = get_account(l, p->pan, &held, e);
    if (code == ERR_NOT_FOUND) {
        *out_code = "14";
        return ERR_OK;
    }
    if (code != ERR_OK)
        return code;
    const char *verdict = has_expired(&held, p) ? "54" : judge_pin(&held, p, &tries);
    if (verdict == NULL && p->amount > held.balance)
        verdict = "51";
    if (tries != held.wrong_tries && (verdict == NULL || strcmp(verdict, "54") != 0))
        TRY(add_to_account(l, ACCOUNT_TRIES, p->pan, tries, e));
    if (verdict == NULL)
        TRY(add_to_account(l, ACCOUNT_ADD, p->pan, -p->amount, e));
    *out_code = verdict != NULL ? verdict : "00";
    return ERR_OK;
}

struct purchase_context {
    const struct ledger_purchase *purchase;
    struct ledger_answer answer;
};

static void set_code(struct ledger_answer *answer, const char *code)
{
    *answer = (struct ledger_answer){0};
    snprintf(answer->response_code, sizeof answer->response_code, "%s", code);
}

static void repeat_answer(const struct entry *known, const struct ledger_purchase *p,
                          struct ledger_answer *answer)
{
    if (known->state != ENTRY_BOOKED) /* it was reversed: nothing may be booked under this key any more */
        set_code(answer, "68");
    else if (known->amount != p->amount || strcmp(known->pan, p->pan) != 0)
        set_code(answer, "94");
    else
        *answer = known->answer;
}

static enum err_code number_entry(struct ledger *l, int64_t id, struct ledger_answer *answer, struct err *e)
{
    sqlite3_stmt *s;
    snprintf(answer->reference, sizeof answer->reference, "%012llu",
             (unsigned long long)id % 1000000000000ULL);
    if (strcmp(answer->response_code, "00") == 0)
        snprintf(answer->authorization, sizeof answer->authorization, "%06llu",
                 (unsigned long long)id % 1000000);
    TRY(ledger_take(l, ENTRY_FINISH, &s, e));
    sqlite3_bind_int64(s, 1, id);
    ledger_bind_text(s, 2, answer->authorization);
    ledger_bind_text(s, 3, answer->reference);
    return ledger_run(l, s, e);
}

static enum err_code book_purchase(struct ledger *l, void *context, struct err *e)
{
    struct purchase_context *c = context;
    const struct ledger_purchase *p = c->purchase;
    struct entry entry;
    TRY(get_entry(l, &p->key, &entry, e));
    if (entry.id != 0) {
        repeat_answer(&entry, p, &c->answer);
        return ERR_OK;
    }
    const char *code = NULL;
    TRY(decide(l, p, &code, e));
    set_code(&entry.answer, code);
    entry.amount = p->amount;
    entry.state = ENTRY_BOOKED;
    snprintf(entry.pan, sizeof entry.pan, "%s", p->pan);
    TRY(put_entry(l, &p->key, &entry, &entry.id, e));
    TRY(number_entry(l, entry.id, &entry.answer, e));
    c->answer = entry.answer;
    return ERR_OK;
}

enum err_code ledger_purchase(struct ledger *l, const struct ledger_purchase *purchase,
                              struct ledger_answer *out_answer, struct err *e)
{
    struct purchase_context c = {.purchase = purchase};
    TRY(ledger_book(l, book_purchase, &c, e));
    *out_answer = c.answer;
    return ERR_OK;
}

struct reversal {
    const struct ledger_key *key;
    bool undone;
};

static enum err_code book_reversal(struct ledger *l, void *context, struct err *e)
{
    struct reversal *r = context;
    struct entry entry;
    int64_t id;
    TRY(get_entry(l, r->key, &entry, e));
    if (entry.id == 0) {
        entry.state = ENTRY_REFUSED_LATE;
        return put_entry(l, r->key, &entry, &id, e);
    }
    if (entry.state != ENTRY_BOOKED)
        return ERR_OK;
    const bool booked = strcmp(entry.answer.response_code, "00") == 0;
    if (booked)
        TRY(add_to_account(l, ACCOUNT_ADD, entry.pan, entry.amount, e));
    sqlite3_stmt *s;
    TRY(ledger_take(l, ENTRY_REVERSED, &s, e));
    sqlite3_bind_int64(s, 1, entry.id);
    TRY(ledger_run(l, s, e));
    r->undone = booked;
    return ERR_OK;
}

enum err_code ledger_reverse(struct ledger *l, const struct ledger_key *key, bool *out_undone, struct err *e)
{
    struct reversal r = {.key = key};
    TRY(ledger_book(l, book_reversal, &r, e));
    *out_undone = r.undone;
    return ERR_OK;
}

static enum err_code book_counts(struct ledger *l, void *context, struct err *e)
{
    struct ledger_counts *counts = context;
    sqlite3_stmt *s;
    bool row;
    TRY(ledger_take(l, COUNTS, &s, e));
    TRY(ledger_step(l, s, &row, e));
    *counts =
        (struct ledger_counts){(uint64_t)sqlite3_column_int64(s, 0), (uint64_t)sqlite3_column_int64(s, 1),
                               (uint64_t)sqlite3_column_int64(s, 2), (uint64_t)sqlite3_column_int64(s, 3)};
    sqlite3_reset(s);
    return ERR_OK;
}

enum err_code ledger_count(struct ledger *l, struct ledger_counts *out_counts, struct err *e)
{
    struct ledger_counts counts = {0};
    TRY(ledger_book(l, book_counts, &counts, e));
    *out_counts = counts;
    return ERR_OK;
}
