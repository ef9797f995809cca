/* Which working keys a sign-in asks for, by layout and suite, and what a refusal becomes. */
#include "iso8583/processing.h"
#include "tests/support/suite.h"
#include "tests/unit/posp/peers.h"

#include <grpc/status.h>

#define NO_MAC    POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_UNSPECIFIED
#define UNION_MAC POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_UNIONPAY_ECB
#define CMAC      POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_AES_CMAC

static struct peers *peers;

static void setup(void)
{
    peers = peers_start();
}

static const struct row {
    const char *terminal, *layout, *code;
    uint32_t key_bytes[ISO_F62_SLOT_COUNT];
    Posward__Hsm__V1__MacAlgorithm mac;
} rows[] = {
    {PEERS_TDES, ISO_NMC_SIGN_IN_SINGLE, "A7", {0}, NO_MAC}, /* single DES */
    {PEERS_TDES, ISO_NMC_SIGN_IN_DOUBLE, "00", {16, 8}, UNION_MAC},
    {PEERS_TDES, ISO_NMC_SIGN_IN_TRACK, "00", {16, 16, 16}, UNION_MAC},
    {PEERS_TDES, ISO_NMC_SIGN_IN_SLOTS, "00", {16, 16, 16}, UNION_MAC},
    {PEERS_AES, ISO_NMC_SIGN_IN_SINGLE, "00", {16, 16, 16}, CMAC}, /* whatever it asks for */
    {PEERS_AES, ISO_NMC_SIGN_IN_DOUBLE, "00", {16, 16, 16}, CMAC},
};

static const char *sign_in(const char *terminal, const char *layout)
{
    struct iso_message m;
    struct err e;
    char f60[12] = "00000001";
    strcat(f60, layout);
    iso_message_init(&m, &iso_unionpay);
    ck_assert_ok(iso_set_mti(&m, "0800", &e), e);
    ck_assert_ok(iso_set_text(&m, 11, "000007", &e), e);
    ck_assert_ok(iso_set_text(&m, 41, terminal, &e), e);
    ck_assert_ok(iso_set_text(&m, 42, PEERS_MERCHANT, &e), e);
    ck_assert_ok(iso_set_text(&m, 60, f60, &e), e);
    ck_assert_ok(iso_set_text(&m, 63, "01 ", &e), e);
    return peers_exchange(&m);
}

START_TEST(layout_says_which_keys)
{
    const struct row *r = &rows[_i];
    size_t count = 0;
    ck_assert_str_eq(sign_in(r->terminal, r->layout), r->code);
    for (; count < ISO_F62_SLOT_COUNT && r->key_bytes[count] > 0; count++) {
        const bool mak = peers->specs[count].usage == POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_MAK;
        ck_assert_uint_eq(peers->specs[count].key_bytes, r->key_bytes[count]);
        ck_assert_int_eq(peers->specs[count].mac, mak ? r->mac : NO_MAC);
    }
    ck_assert_uint_eq(peers->spec_count, count);
}
END_TEST

static const struct {
    int status;
    const char *code;
} refusals[] = {
    {GRPC_STATUS_PERMISSION_DENIED, "A7"}, /* policy.tdes_mak_bytes_min, for one */
    {GRPC_STATUS_INVALID_ARGUMENT, "A7"},  {GRPC_STATUS_NOT_FOUND, "A7"},
    {GRPC_STATUS_UNIMPLEMENTED, "A7"},     {GRPC_STATUS_RESOURCE_EXHAUSTED, "96"},
    {GRPC_STATUS_UNAVAILABLE, "96"},
};

START_TEST(refusal_of_the_service_has_its_code)
{
    struct store_keys keys;
    struct err e;
    peers->status = refusals[_i].status;
    ck_assert_str_eq(sign_in(PEERS_TDES, ISO_NMC_SIGN_IN_DOUBLE), refusals[_i].code);
    ck_assert_ok(store_keys_get(peers->posp.store, PEERS_TDES, &keys, &e), e);
    ck_assert_uint_eq(keys.count, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("posp signin");
    TCase *tc = tcase_create("signin");
    tcase_add_checked_fixture(tc, setup, peers_stop);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, layout_says_which_keys, 0, (int)(sizeof rows / sizeof rows[0]));
    tcase_add_loop_test(tc, refusal_of_the_service_has_its_code, 0,
                        (int)(sizeof refusals / sizeof refusals[0]));
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
