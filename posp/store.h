/* What POSP keeps: devices, working-key blobs, cards, the journal of transactions. SQLite, WAL,
 * synchronous=FULL.
 *
 * One thread writes; what several callers ask for at the same time is committed together, and each of them
 * returns after the commit is on disk. Reads see what was committed. Never in here: a clear key, a PIN or PIN
 * block, a track, a full PAN. Every function: any thread. ERR_IO: the database failed; nothing was changed.
 */
#ifndef POSWARD_POSP_STORE_H
#define POSWARD_POSP_STORE_H

#include "base/err.h"
#include "base/terms.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

/* Creates the file, mode 0600, when it is not there. ERR_UNSUPPORTED: it was written by a newer version.
 * ERR_STATE: another process has it open, or it is another program's. ERR_IO: it is damaged. */
enum err_code store_open(const char *path, struct store **out_store, struct err *e) MUST_CHECK;
/* Waits for writes under way. Accepts NULL. */
void store_free(struct store *store);

#define STORE_TERMINAL_BYTES 9  /* field 41 and a NUL */
#define STORE_MERCHANT_BYTES 16 /* field 42 and a NUL */
#define STORE_PSAM_BYTES     (PSAM_DIGITS_MAX + 1)

/* ---- devices: a copy of POSV's table ---- */

struct store_device {
    char terminal_id[STORE_TERMINAL_BYTES], merchant_id[STORE_MERCHANT_BYTES], psam_number[STORE_PSAM_BYTES];
    int suite; /* posward.types.v1.Suite */
    uint32_t master_version, wrap_version;
    int state; /* posward.posv.v1.DeviceState */
    int64_t revision;
};

/* `revision` becomes the one to resume from; `device` may be NULL: a mark or heartbeat. */
enum err_code store_device_put(struct store *store, const struct store_device *device, int64_t revision,
                               struct err *e) MUST_CHECK;
/* Forget all devices: POSV's table was started anew. */
enum err_code store_devices_clear(struct store *store, struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND: not known. */
enum err_code store_device_get(struct store *store, const char *terminal_id, struct store_device *out_device,
                               struct err *e) MUST_CHECK;
enum err_code store_device_progress(struct store *store, int64_t *out_revision, uint64_t *out_count,
                                    struct err *e) MUST_CHECK;

/* ---- working keys ----
 * A terminal has the set of its newest sign-in and, until that one is used, the set it used before: an answer
 * to a sign-in that got lost does not lock the terminal out. */

#define STORE_BLOB_BYTES 160

struct store_blob {
    uint8_t bytes[STORE_BLOB_BYTES];
    size_t len; /* 0: the set has no such key */
};
/* Versions of the token's keys that blobs are sealed under; 0: not known, or not the same for all of a set.
 */
struct store_seal {
    uint32_t storage, tag;
};
struct store_key_set {
    int64_t generation; /* grows with each sign-in; never 0 */
    char psam_number[STORE_PSAM_BYTES];
    int suite;
    struct store_blob pik, mak, tdk;
    struct store_seal seal; /* put only */
    bool used;
};
struct store_keys {
    struct store_key_set sets[2]; /* newest first */
    size_t count;
};

/* `set->generation` and `used` are ignored. */
enum err_code store_keys_put(struct store *store, const char *terminal_id, const struct store_key_set *set,
                             struct err *e) MUST_CHECK;
/* No keys: ERR_OK and count 0. */
enum err_code store_keys_get(struct store *store, const char *terminal_id, struct store_keys *out_keys,
                             struct err *e) MUST_CHECK;
/* The terminal has proven that it holds this set: older ones go. */
enum err_code store_keys_used(struct store *store, const char *terminal_id, int64_t generation,
                              struct err *e) MUST_CHECK;

/* ---- cards (patent S304) ---- */

struct store_card {
    char psam_number[STORE_PSAM_BYTES];
    int suite;
    uint32_t master_version, wrap_version;
    uint8_t kcv[4];
    struct store_blob tmk;
    struct store_seal seal;
    int control_suite; /* TDES or AES_256; 0: not known */
    uint32_t control_version;
    int state; /* posward.posp.v1.CardState */
    int64_t updated_ms;
};

enum err_code store_card_put(struct store *store, const struct store_card *card, struct err *e) MUST_CHECK;
/* The card was written: the record of this PSAM number and KCV gets this state and time, and nothing else
 * changes. ERR_STATE: by now the record is of another key. */
enum err_code store_card_written(struct store *store, const struct store_card *card,
                                 struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND: no key was ever asked for. */
enum err_code store_card_get(struct store *store, const char *psam_number, struct store_card *out_card,
                             struct err *e) MUST_CHECK;

/* ---- what depends on which key of the token ---- */

enum store_use_kind {
    STORE_USE_MASTER,  /* cards: of devices that are not retired, and issued here */
    STORE_USE_CONTROL, /* cards that were issued here */
    STORE_USE_STORAGE, /* blobs */
    STORE_USE_TAG
};
struct store_use {
    int suite;        /* of cards: posward.types.v1.Suite, 0 not known */
    uint32_t version; /* 0: not known */
    uint64_t count;
};
/* At most `capacity`, which ERR_LIMIT says was too few. Reads whole tables, beside those who serve terminals.
 */
enum err_code store_uses(struct store *store, enum store_use_kind kind, struct store_use *out_uses,
                         size_t capacity, size_t *out_count, struct err *e) MUST_CHECK;

/* ---- rows with sealed blobs, to be moved to newer keys ---- */

enum store_sealed_kind {
    STORE_SEALED_SET, /* name: terminal; blobs: PIK, MAK, TDK */
    STORE_SEALED_CARD /* name: PSAM number; blobs: TMK */
};
#define STORE_SEALED_BLOBS     3
#define STORE_SEALED_OF_DEVICE 4 /* rows: its sets, and its card's */
struct store_sealed {
    enum store_sealed_kind kind;
    char name[STORE_PSAM_BYTES];
    int64_t generation; /* of a set */
    struct store_blob blobs[STORE_SEALED_BLOBS];
    struct store_seal seal;
};
/* Rows of one kind by name and generation, from the one behind `after` on; NULL: from the first. Fewer than
 * `capacity`: that was the last. Reads beside those who serve terminals. */
enum err_code store_sealed_page(struct store *store, enum store_sealed_kind kind,
                                const struct store_sealed *after, size_t capacity,
                                struct store_sealed *out_rows, size_t *out_count, struct err *e) MUST_CHECK;
/* The sets of a terminal and the record of the card in it; none: ERR_OK and 0. */
enum err_code store_sealed_device(struct store *store, const char *terminal_id,
                                  struct store_sealed out_rows[STORE_SEALED_OF_DEVICE], size_t *out_count,
                                  struct err *e) MUST_CHECK;

/* Compare and swap: a row whose blobs are still those of `old` gets the new ones; one that a sign-in, a card
 * request or another has replaced meanwhile stays, and `swapped` is false. */
struct store_swap {
    const struct store_sealed *old;
    struct store_blob blobs[STORE_SEALED_BLOBS];
    struct store_seal seal;
    bool swapped; /* out */
};
/* All in one commit. */
enum err_code store_sealed_swap(struct store *store, struct store_swap *swaps, size_t count,
                                struct err *e) MUST_CHECK;

/* `count` numbers from *out_first on that are never given twice: for field 37. */
enum err_code store_take_numbers(struct store *store, int64_t count, int64_t *out_first,
                                 struct err *e) MUST_CHECK;

#endif
