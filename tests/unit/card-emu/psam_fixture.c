#include "tests/unit/card-emu/psam_fixture.h"

#include "apdu/address.h"
#include "apdu/psam.h"
#include "tests/support/suite.h"

struct test_card psam_card;
struct card_link psam_reader;
struct err psam_err;

void psam_insert(void)
{
    ck_assert_ok(card_link_connect(&psam_reader, psam_card.address, 5000, &psam_err), psam_err);
    ck_assert_ok(card_power_on(&psam_reader, &psam_err), psam_err);
}

void psam_setup(void)
{
    psam_err = (struct err){0};
    test_card_make(&psam_card);
    test_card_serve(&psam_card);
    psam_insert();
}

void psam_teardown(void)
{
    card_link_drop(&psam_reader);
    test_card_drop(&psam_card);
}

int psam_connect_raw(void)
{
    int fd = -1;
    card_link_drop(&psam_reader); /* the card has one reader at a time */
    ck_assert_ok(address_connect(psam_card.address, 5000, &fd, &psam_err), psam_err);
    return fd;
}

uint16_t psam_transmit(const struct apdu_command *command, struct apdu_response *out)
{
    ck_assert_ok(card_exchange(&psam_reader, command, out, &psam_err), psam_err);
    return out->sw;
}

struct emu_key psam_key_of(enum emu_algorithm algorithm, uint8_t seed)
{
    uint8_t bytes[32];
    struct emu_key key = {0};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(seed + 7 * i);
    ck_assert_ok(emu_key_init(&key, algorithm, bytes, emu_key_len(algorithm), &psam_err), psam_err);
    return key;
}

uint16_t psam_write_working(const struct emu_key *tmk, const struct emu_key *key, uint8_t usage,
                            uint8_t method)
{
    const struct psam_key_header header = {usage, 1, (uint8_t)(key->algorithm | method)};
    uint8_t cipher[40], cv[4];
    struct apdu_command command;
    struct apdu_response response;
    const size_t len = test_card_wrap(tmk, key, cipher);
    ck_assert_ok(emu_kcv(key, cv, sizeof cv, &psam_err), psam_err);
    ck_assert_ok(psam_write_working_key(&header, cipher, len, cv, &command, &psam_err), psam_err);
    return psam_transmit(&command, &response);
}

size_t psam_snapshot(uint8_t out[1024])
{
    const size_t len = test_card_read(&psam_card, out, 1024);
    ck_assert_uint_gt(len, 100);
    return len;
}
