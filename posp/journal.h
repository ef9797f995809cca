/* The journal of transactions: what POSP promises about an answered transaction rests on it.
 *
 *   forwarded --> answered              the unit answered; the answer is stored before it is sent
 *       |    \--> reversing --> reversed  the outcome is unknown or cannot be told; the terminal was declined
 *
 * (terminal, batch, trace) names a transaction. Part of the store: the same threads, errors and durability.
 */
#ifndef POSWARD_POSP_JOURNAL_H
#define POSWARD_POSP_JOURNAL_H

#include "posp/store.h"

#define JOURNAL_ANSWER_BYTES 1024 /* a packed answer without field 2 */

enum journal_state { JOURNAL_FORWARDED = 1, JOURNAL_ANSWERED, JOURNAL_REVERSING, JOURNAL_REVERSED };

struct journal_entry {
    int64_t id; /* 0 before journal_begin */
    char terminal_id[STORE_TERMINAL_BYTES], batch[7], trace[7];
    char merchant_id[STORE_MERCHANT_BYTES], masked_pan[20], processing_code[7], amount[13], currency[4];
    char entry_mode[4]; /* field 22 */
    uint8_t mac[8];     /* field 64 of the request */
    int64_t generation; /* of the working keys that made it */
    char unit[32];
    char response_code[3]; /* "" until known */
    char reference[13];    /* field 37 */
    char authorization[7]; /* field 38, "" without */
    uint8_t answer[JOURNAL_ANSWER_BYTES];
    size_t answer_len; /* 0: no answer was made */
    enum journal_state state;
    int64_t created_ms;
};

/* Before a transaction is forwarded: gives `entry` its id and reference number, state forwarded.
 * ERR_EXISTS: the key is taken; *entry is the one on record then. */
enum err_code journal_begin(struct store *store, struct journal_entry *entry, struct err *e) MUST_CHECK;
/* Before an answer is sent: response_code, authorization, answer and state of `entry`, by its id; a state
 * never goes back. ERR_STATE: an approval of what journal_recover has taken, as when the wall clock jumped.
 */
enum err_code journal_settle(struct store *store, const struct journal_entry *entry,
                             struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND: no such transaction. */
enum err_code journal_get(struct store *store, const char *terminal_id, const char *batch, const char *trace,
                          struct journal_entry *out_entry, struct err *e) MUST_CHECK;

/* What was left in state forwarded and is older than `before_ms` (wall clock; INT64_MAX at start: all) is to
 * be reversed. */
enum err_code journal_recover(struct store *store, int64_t before_ms, uint64_t *out_count,
                              struct err *e) MUST_CHECK;
/* The oldest entry in state reversing with an id above `after`. ERR_NOT_FOUND: none. */
enum err_code journal_next_reversal(struct store *store, int64_t after, struct journal_entry *out_entry,
                                    struct err *e) MUST_CHECK;
/* The unit has acknowledged. */
enum err_code journal_reversed(struct store *store, int64_t id, struct err *e) MUST_CHECK;

/* Newest first, at most `most`, with an id below `before` (0: all); `terminal_id` "": all terminals. */
enum err_code journal_list(struct store *store, const char *terminal_id, int64_t before, size_t most,
                           struct journal_entry *out_entries, size_t *out_count, struct err *e) MUST_CHECK;

struct journal_counts {
    uint64_t transactions, approved, declined, reversals_pending;
};
enum err_code journal_count(struct store *store, struct journal_counts *out_counts, struct err *e) MUST_CHECK;

/* "forwarded", "answered", "reversing", "reversed". */
const char *journal_state_name(enum journal_state state);

#endif
