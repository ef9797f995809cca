/* A real emulated card for a test: made by `posward-psam new` from known masters, served by `posward-psam
 * serve`, issued with a TMK that the test computes itself. Failures fail the test that calls. One thread. */
#ifndef POSWARD_TESTS_SUPPORT_CARD_H
#define POSWARD_TESTS_SUPPORT_CARD_H

#include "apdu/link.h"
#include "card-emu/crypto/diversify.h"

#include <sys/types.h>

#define CARD_PSAM_NUMBER "62010000001234567890"

struct test_card {
    char folder[64], file[128], address[32];
    pid_t pid;                                /* 0: not served */
    struct emu_key control_tdes, control_aes; /* what the maker has diversified into the card */
};

/* A folder, component files, a card in a file; not served yet. */
void test_card_make(struct test_card *c);
/* `posward-psam serve` on a free port; again after a kill. */
void test_card_serve(struct test_card *c);
void test_card_kill(struct test_card *c);
/* Kill when served, remove the folder. */
void test_card_drop(struct test_card *c);
/* Start bin/PROGRAM with `argv`; standard output and error go into a file. */
pid_t test_start(const char *program, const char *const *argv, const char *output_path);
/* Run bin/PROGRAM with `argv` (ends with NULL, argv[0] too); its exit status. Output into `out_text` (may be
 * NULL). */
int test_run(const char *program, const char *const *argv, char *out_text, size_t capacity);
/* The card file's bytes. */
size_t test_card_read(const struct test_card *c, uint8_t *out_bytes, size_t capacity);

/* WRITE KEY with a fresh challenge. `damage`: flip a bit of the MAC. Returns the status word. */
uint16_t test_card_write_pboc(const struct test_card *c, struct card_link *link, uint8_t version,
                              const struct emu_key *tmk, bool damage);
uint16_t test_card_write_aes(const struct test_card *c, struct card_link *link, uint8_t version,
                             const struct emu_key *tmk, bool damage);
/* The same in profile aes, with any header. */
struct psam_key_header;
uint16_t test_card_write_header(const struct test_card *c, struct card_link *link,
                                const struct psam_key_header *header, const struct emu_key *tmk, bool damage);
/* A working key's cryptogram under a TMK or its key of a usage; returns its length. */
size_t test_card_wrap(const struct emu_key *tmk, const struct emu_key *key, uint8_t out_cipher[24]);

#endif
