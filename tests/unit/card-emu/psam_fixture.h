/* A card that the real posward-psam serves, and its reader: for the suites that drive it. */
#ifndef POSWARD_TESTS_UNIT_CARD_EMU_PSAM_FIXTURE_H
#define POSWARD_TESTS_UNIT_CARD_EMU_PSAM_FIXTURE_H

#include "apdu/reader.h"
#include "tests/support/card.h"

extern struct test_card psam_card;
extern struct card_link psam_reader;
extern struct err psam_err;

void psam_setup(void);
void psam_teardown(void);
/* Connect the reader and power the card on. */
void psam_insert(void);
/* The reader gives way to a bare socket. */
int psam_connect_raw(void);
uint16_t psam_transmit(const struct apdu_command *command, struct apdu_response *out);
struct emu_key psam_key_of(enum emu_algorithm algorithm, uint8_t seed);
/* Write `key` under `tmk` into the card; `method` of a MAK in the high nibble. Returns the status word. */
uint16_t psam_write_working(const struct emu_key *tmk, const struct emu_key *key, uint8_t usage,
                            uint8_t method);
/* The card's file; returns its bytes. */
size_t psam_snapshot(uint8_t out[1024]);

#endif
