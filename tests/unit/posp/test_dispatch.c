/* What POSP decides by itself: response codes by form, terminal and keys, with nobody behind it. */
#include "posp/dispatch.h"

#include "iso8583/pack.h"
#include "posward/posv/v1/posv.pb-c.h"
#include "tests/support/suite.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static char directory[64];
static char path[80];
static struct posp posp;
static struct posp_config config;
static struct err e;

/* Port 1 of the loopback: nobody listens, and the answer comes at once. */
static void connect_nowhere(void)
{
    const struct rpc_channel_options nowhere = {.target = "127.0.0.1:1", .tls = {.insecure = true}};
    ck_assert_ok(rpc_channel_new(&nowhere, &posp.hsm_channel, &e), e);
    ck_assert_ok(hsm_open(posp.hsm_channel, 200, &posp.hsm, &e), e);
}

static void add_device(const char *terminal_id, int state)
{
    struct store_device d = {.merchant_id = "898100012345678",
                             .psam_number = "62010000001234567890",
                             .suite = 1,
                             .master_version = 1,
                             .state = state,
                             .revision = 1};
    strcpy(d.terminal_id, terminal_id);
    ck_assert_ok(store_device_put(posp.store, &d, 1, &e), e);
}

static void setup(void)
{
    static char acquirer[] = "01050000";
    suite_scratch_name("dispatch", directory, sizeof directory);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/posp.db", directory);
    config = (struct posp_config){.acquirer_id = acquirer, .forward_timeout_ms = 200, .hsm_timeout_ms = 200};
    posp = (struct posp){.config = &config, .dialect = &iso_unionpay};
    pthread_mutex_init(&posp.numbers.lock, NULL);
    ck_assert_ok(store_open(path, &posp.store, &e), e);
    ck_assert_ok(units_open(&config, &posp.units, &e), e);
    connect_nowhere();
    add_device("A0000001", POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_ACTIVE);
    add_device("S0000001", POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_SUSPENDED);
    add_device("R0000001", POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_RETIRED);
}

static void teardown(void)
{
    static const char *const tails[] = {"", "-wal", "-shm", ".lock"};
    units_free(posp.units);
    hsm_free(posp.hsm);
    rpc_channel_free(posp.hsm_channel);
    store_free(posp.store);
    pthread_mutex_destroy(&posp.numbers.lock);
    for (size_t i = 0; i < 4; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s%s", path, tails[i]);
        unlink(name);
    }
    ck_assert_int_eq(rmdir(directory), 0);
}

struct row {
    const char *mti, *terminal, *merchant, *f60, *f3, *f62;
    unsigned without; /* a field to leave out */
    const char *code;
};

#define M "898100012345678"

static const struct row rows[] = {
    {"0820", "A0000001", M, "00000001301", NULL, NULL, 0, "00"},
    {"0820", "A0000001", M, "00000001002", NULL, NULL, 0, "00"},
    {"0820", "A0000001", M, "00000001201", NULL, NULL, 0, "12"},
    {"0820", "X0000001", M, "00000001301", NULL, NULL, 0, "97"},
    {"0820", "S0000001", M, "00000001301", NULL, NULL, 0, "58"},
    {"0820", "R0000001", M, "00000001301", NULL, NULL, 0, "97"},
    {"0820", "A0000001", "000000000000000", "00000001301", NULL, NULL, 0, "03"},
    {"0820", "A0000001", M, "00000001301", NULL, NULL, 11, "30"},
    {"0820", "A0000001", M, "00000001301", NULL, NULL, 41, "30"},
    {"0820", "A0000001", M, "00000001301", NULL, NULL, 42, "30"},
    {"0820", "A0000001", M, "00000001301", NULL, NULL, 60, "30"},
    {"0820", "A0000001", M, "000000013", NULL, NULL, 0, "30"},
    {"0800", "A0000001", M, "00000001003", NULL, NULL, 0, "96"}, /* the HSM service is away */
    {"0800", "A0000001", M, "00000001003", NULL, "62010000001234567890", 0, "96"},
    {"0800", "A0000001", M, "00000001003", NULL, "62010000009999999999", 0, "A7"},
    {"0800", "A0000001", M, "00000001003", NULL, "somebody", 0, "30"},
    {"0800", "A0000001", M, "00000001003", NULL, NULL, 63, "30"},
    {"0800", "A0000001", M, "00000001777", NULL, NULL, 0, "12"},
    {"0200", "A0000001", M, "22000001000", NULL, NULL, 0, "30"},
    {"0200", "A0000001", M, "22000001000", "310000", NULL, 0, "12"},
    {"0200", "A0000001", M, "22000001000", "000000", NULL, 4, "30"},
    {"0200", "A0000001", M, "22000001000", "000000", NULL, 2, "30"},
    {"0200", "A0000001", M, "22000001000", "000000", NULL, 64, "A0"},
    {"0200", "A0000001", M, "22000001000", "000000", NULL, 0, "99"}, /* never signed in */
    {"0400", "A0000001", M, "22000001000", "000000", NULL, 0, "12"},
    {"0100", "A0000001", M, "10000001000", "030000", NULL, 0, "12"},
};

static void set(struct iso_message *m, const struct row *r, unsigned field, const char *text)
{
    if (text != NULL && r->without != field)
        ck_assert_ok(iso_set_text(m, field, text, &e), e);
}

static size_t build(const struct row *r, uint8_t *out, size_t capacity)
{
    struct iso_message m;
    size_t len = 0;
    iso_message_init(&m, &iso_unionpay);
    ck_assert_ok(iso_set_mti(&m, r->mti, &e), e);
    set(&m, r, 11, "000007");
    set(&m, r, 41, r->terminal);
    set(&m, r, 42, r->merchant);
    set(&m, r, 60, r->f60);
    set(&m, r, 62, r->f62);
    set(&m, r, 63, r->mti[1] == '8' ? "01 " : NULL);
    if (r->f3 != NULL) {
        set(&m, r, 2, "6225758326736419");
        set(&m, r, 3, r->f3);
        set(&m, r, 4, "000000000100");
        set(&m, r, 22, "012");
        set(&m, r, 25, "00");
        set(&m, r, 49, "156");
        set(&m, r, 64, "ABCDEF01");
    }
    ck_assert_ok(iso_pack(&m, out, capacity, &len, &e), e);
    return len;
}

static void expect(const struct answer *answer, const char *mti, const char *code)
{
    struct iso_message m;
    iso_message_init(&m, &iso_unionpay);
    ck_assert_ok(iso_unpack(&m, &iso_unionpay, answer->bytes, answer->len, &e), e);
    ck_assert_int_eq(m.mti[2], mti[2] + 1);
    ck_assert_str_eq(iso_text(&m, 39), code);
    ck_assert(iso_has(&m, 12) && iso_has(&m, 13) && iso_has(&m, 32) && iso_has(&m, 37));
    ck_assert(!iso_has(&m, 64));
}

START_TEST(each_case_has_its_code)
{
    uint8_t message[512];
    struct answer answer;
    const struct row *r = &rows[_i];
    const size_t len = build(r, message, sizeof message);
    ck_assert_ok(dispatch(&posp, message, len, &answer, &e), e);
    expect(&answer, r->mti, r->code);
}
END_TEST

START_TEST(message_cut_at_every_byte_is_answered_30_or_dropped)
{
    uint8_t message[512];
    struct answer answer;
    const size_t len = build(&rows[0], message, sizeof message);
    for (size_t cut = 0; cut < len; cut++) {
        const enum err_code code = dispatch(&posp, message, cut, &answer, &e);
        ck_assert_int_eq(code, cut < 2 ? ERR_INPUT : ERR_OK);
        if (code == ERR_OK)
            expect(&answer, "0820", "30");
    }
}
END_TEST

START_TEST(what_is_no_request_has_no_answer)
{
    static const uint8_t starts[][2] = {{0x02, 0x10}, {0x08, 0x30}, {0x0A, 0x00}, {0xFF, 0xFF}, {0x02, 0x3F}};
    uint8_t message[64] = {0};
    struct answer answer;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        memcpy(message, starts[i], 2);
        ck_assert_int_eq(dispatch(&posp, message, sizeof message, &answer, &e), ERR_INPUT);
    }
}
END_TEST

/* A refusal leaves without a number; an approval must have one, and becomes 96. */
START_TEST(store_that_takes_nothing_gives_no_number)
{
    const struct {
        const char *terminal, *code;
    } cases[] = {{"X0000001", "97"}, {"S0000001", "58"}, {"A0000001", "96"}};
    const struct row r = {"0820", cases[_i].terminal, M, "00000001301", NULL, NULL, 0, NULL};
    uint8_t message[512];
    struct rlimit limit;
    struct answer answer;
    struct iso_message m;
    const size_t len = build(&r, message, sizeof message);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    const struct rlimit full = {0, limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
    const enum err_code code = dispatch(&posp, message, len, &answer, &e);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_ok(code, e);
    iso_message_init(&m, &iso_unionpay);
    ck_assert_ok(iso_unpack(&m, &iso_unionpay, answer.bytes, answer.len, &e), e);
    ck_assert_str_eq(iso_text(&m, 39), cases[_i].code);
    ck_assert(!iso_has(&m, 37));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("posp dispatch");
    TCase *tc = tcase_create("dispatch");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, each_case_has_its_code, 0, (int)(sizeof rows / sizeof rows[0]));
    tcase_add_test(tc, message_cut_at_every_byte_is_answered_30_or_dropped);
    tcase_add_test(tc, what_is_no_request_has_no_answer);
    tcase_add_loop_test(tc, store_that_takes_nothing_gives_no_number, 0, 3);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
