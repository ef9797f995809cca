/* The store: devices, working keys, numbers; many writers at once; what a closed store keeps. */
#include "posp/store.h"
#include "tests/support/suite.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static char path[80];
static struct store *store;
static struct err e;

static void setup(void)
{
    suite_scratch_name("store", directory, sizeof directory);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/posp.db", directory);
    ck_assert_ok(store_open(path, &store, &e), e);
}

static void teardown(void)
{
    static const char *const tails[] = {"", "-wal", "-shm", ".lock"};
    store_free(store);
    for (size_t i = 0; i < 4; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s%s", path, tails[i]);
        unlink(name);
    }
    ck_assert_int_eq(rmdir(directory), 0);
}

static void reopen(void)
{
    store_free(store);
    store = NULL;
    ck_assert_ok(store_open(path, &store, &e), e);
}

static struct store_key_set key_set(uint8_t fill)
{
    struct store_key_set set = {.psam_number = "62010000000000000001", .suite = 1};
    memset(set.mak.bytes, fill, 100);
    set.mak.len = 100;
    set.pik = set.mak;
    return set;
}

static struct store_keys keys_of(const char *terminal)
{
    struct store_keys keys = {.count = 9};
    ck_assert_ok(store_keys_get(store, terminal, &keys, &e), e);
    return keys;
}

START_TEST(store_is_for_the_owner_only)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(devices_survive_and_keep_the_newest_form)
{
    struct store_device d = {.terminal_id = "T0000001",
                             .merchant_id = "M",
                             .psam_number = "6201",
                             .suite = 1,
                             .master_version = 7,
                             .wrap_version = 2,
                             .state = 1,
                             .revision = 5};
    struct store_device found;
    int64_t revision;
    uint64_t count;
    ck_assert_int_eq(store_device_get(store, "T0000001", &found, &e), ERR_NOT_FOUND);
    ck_assert_ok(store_device_put(store, &d, 5, &e), e);
    d.state = 2;
    d.revision = 4; /* older news */
    ck_assert_ok(store_device_put(store, &d, 5, &e), e);
    ck_assert_ok(store_device_put(store, NULL, 9, &e), e);
    reopen();
    ck_assert_ok(store_device_get(store, "T0000001", &found, &e), e);
    ck_assert_int_eq(found.state, 1);
    ck_assert_uint_eq(found.master_version, 7);
    ck_assert_uint_eq(found.wrap_version, 2);
    ck_assert_ok(store_device_progress(store, &revision, &count, &e), e);
    ck_assert_int_eq(revision, 9);
    ck_assert_uint_eq(count, 1);
    ck_assert_ok(store_devices_clear(store, &e), e);
    ck_assert_ok(store_device_progress(store, &revision, &count, &e), e);
    ck_assert_int_eq(revision, 0);
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(keys_of_before_stay_until_the_new_ones_are_used)
{
    struct store_key_set set = key_set(1);
    ck_assert_uint_eq(keys_of("T").count, 0);
    ck_assert_ok(store_keys_put(store, "T", &set, &e), e);
    const int64_t first = keys_of("T").sets[0].generation;
    ck_assert_ok(store_keys_used(store, "T", first, &e), e);
    for (uint8_t fill = 2; fill < 5; fill++) { /* three answers get lost */
        set = key_set(fill);
        ck_assert_ok(store_keys_put(store, "T", &set, &e), e);
        const struct store_keys keys = keys_of("T");
        ck_assert_uint_eq(keys.count, 2);
        ck_assert_uint_eq(keys.sets[0].mak.bytes[0], fill);
        ck_assert(!keys.sets[0].used);
        ck_assert_int_eq(keys.sets[1].generation, first);
        ck_assert_uint_eq(keys.sets[1].mak.len, 100);
        ck_assert_uint_eq(keys.sets[1].tdk.len, 0);
    }
    ck_assert_ok(store_keys_used(store, "T", keys_of("T").sets[0].generation, &e), e);
    reopen();
    ck_assert_uint_eq(keys_of("T").count, 1);
    ck_assert_uint_eq(keys_of("T").sets[0].mak.bytes[0], 4);
    ck_assert_uint_eq(keys_of("U").count, 0);
}
END_TEST

START_TEST(cards_are_replaced_by_number)
{
    struct store_card card = {.psam_number = "62010000000000000001",
                              .suite = 2,
                              .master_version = 1,
                              .kcv = {1, 2, 3, 4},
                              .tmk = {.bytes = {9}, .len = 1},
                              .state = 1,
                              .updated_ms = 5};
    struct store_card found;
    ck_assert_int_eq(store_card_get(store, card.psam_number, &found, &e), ERR_NOT_FOUND);
    ck_assert_ok(store_card_put(store, &card, &e), e);
    card.state = 2;
    ck_assert_ok(store_card_put(store, &card, &e), e);
    ck_assert_ok(store_card_get(store, card.psam_number, &found, &e), e);
    ck_assert_int_eq(found.state, 2);
    ck_assert_uint_eq(found.tmk.len, 1);
    ck_assert_uint_eq(found.kcv[3], 4);
}
END_TEST

#define WRITERS 16
#define TAKES   40

static void *take_numbers(void *context)
{
    int64_t *numbers = context;
    struct err own = {0};
    for (int i = 0; i < TAKES; i++)
        if (store_take_numbers(store, 3, &numbers[i], &own) != ERR_OK)
            numbers[i] = -1;
    return NULL;
}

START_TEST(numbers_are_never_given_twice)
{
    static int64_t numbers[WRITERS][TAKES];
    static char seen[WRITERS * TAKES * 3 + 1];
    pthread_t threads[WRITERS];
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_numbers, numbers[i]), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < WRITERS * TAKES; i++)
        for (int k = 0; k < 3; k++) {
            const int64_t number = numbers[i / TAKES][i % TAKES] + k;
            ck_assert_int_ge(number, 1);
            ck_assert_int_lt(number, (int64_t)sizeof seen);
            ck_assert_int_eq(seen[number]++, 0);
        }
}
END_TEST

/* The store closed, and `sql` done to its file by another program. */
static void change_file(const char *sql)
{
    sqlite3 *db = NULL;
    store_free(store);
    store = NULL;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static uint64_t uses_of(enum store_use_kind kind, int suite, uint32_t version)
{
    struct store_use uses[16];
    size_t count = 0;
    ck_assert_ok(store_uses(store, kind, uses, 16, &count, &e), e);
    for (size_t i = 0; i < count; i++)
        if (uses[i].suite == suite && uses[i].version == version)
            return uses[i].count;
    return 0;
}

static void put_device(const char *terminal, const char *psam, uint32_t version, int state, int64_t revision)
{
    struct store_device d = {.suite = 1, .master_version = version, .state = state, .revision = revision};
    snprintf(d.terminal_id, sizeof d.terminal_id, "%s", terminal);
    snprintf(d.psam_number, sizeof d.psam_number, "%s", psam);
    ck_assert_ok(store_device_put(store, &d, revision, &e), e);
}

START_TEST(uses_count_each_card_once_and_every_blob)
{
    struct store_card card = {.psam_number = "62010000000000000001",
                              .suite = 1,
                              .master_version = 1,
                              .tmk = {.bytes = {9}, .len = 1},
                              .seal = {2, 3},
                              .control_suite = 3,
                              .control_version = 4};
    struct store_key_set set = key_set(1);
    struct store_use one;
    size_t count;
    set.seal = (struct store_seal){2, 1};
    put_device("T0000001", card.psam_number, 1, 1, 1);
    put_device("T0000002", "62010000000000000002", 2, 1, 2);
    put_device("T0000003", "62010000000000000003", 2, 3, 3); /* retired */
    ck_assert_ok(store_card_put(store, &card, &e), e);
    ck_assert_ok(store_keys_put(store, "T0000001", &set, &e), e);
    set.seal = (struct store_seal){1, 1};
    ck_assert_ok(store_keys_put(store, "T0000002", &set, &e), e);
    ck_assert_uint_eq(uses_of(STORE_USE_MASTER, 1, 1), 1);
    ck_assert_uint_eq(uses_of(STORE_USE_MASTER, 1, 2), 1);
    ck_assert_uint_eq(uses_of(STORE_USE_CONTROL, 3, 4), 1);
    ck_assert_uint_eq(uses_of(STORE_USE_STORAGE, 0, 2), 3);
    ck_assert_uint_eq(uses_of(STORE_USE_STORAGE, 0, 1), 2);
    ck_assert_uint_eq(uses_of(STORE_USE_TAG, 0, 3), 1);
    ck_assert_uint_eq(uses_of(STORE_USE_TAG, 0, 1), 4);
    ck_assert_int_eq(store_uses(store, STORE_USE_MASTER, &one, 1, &count, &e), ERR_LIMIT);
}
END_TEST

static struct store_sealed first_of(enum store_sealed_kind kind)
{
    struct store_sealed rows[2];
    size_t count = 0;
    ck_assert_ok(store_sealed_page(store, kind, NULL, 2, rows, &count, &e), e);
    ck_assert_uint_eq(count, 1);
    return rows[0];
}

static bool swap_to(const struct store_sealed *old, uint8_t fill)
{
    struct store_swap swap = {.old = old, .seal = {2, 2}};
    memcpy(swap.blobs, old->blobs, sizeof swap.blobs);
    for (size_t i = 0; i < STORE_SEALED_BLOBS; i++)
        memset(swap.blobs[i].bytes, fill, swap.blobs[i].len);
    ck_assert_ok(store_sealed_swap(store, &swap, 1, &e), e);
    return swap.swapped;
}

START_TEST(swap_takes_a_set_only_as_it_was_sent)
{
    struct store_key_set set = key_set(1);
    ck_assert_ok(store_keys_put(store, "T0000001", &set, &e), e);
    const struct store_sealed old = first_of(STORE_SEALED_SET);
    ck_assert_str_eq(old.name, "T0000001");
    ck_assert(swap_to(&old, 2));
    ck_assert_uint_eq(keys_of("T0000001").sets[0].mak.bytes[99], 2);
    ck_assert_int_eq(keys_of("T0000001").sets[0].generation, old.generation);
    ck_assert_uint_eq(uses_of(STORE_USE_STORAGE, 0, 2), 2);
    ck_assert_uint_eq(uses_of(STORE_USE_TAG, 0, 2), 2);
    ck_assert_uint_eq(uses_of(STORE_USE_STORAGE, 0, 0), 0);
    ck_assert(!swap_to(&old, 3)); /* somebody moved it already */
    const struct store_sealed moved = first_of(STORE_SEALED_SET);
    set = key_set(4); /* a sign-in in between */
    ck_assert_ok(store_keys_put(store, "T0000001", &set, &e), e);
    ck_assert(!swap_to(&moved, 5));
    ck_assert_uint_eq(keys_of("T0000001").sets[0].mak.bytes[0], 4);
}
END_TEST

START_TEST(swap_takes_a_card_only_as_it_was_sent)
{
    struct store_card found, card = {.psam_number = "62010000000000000001",
                                     .suite = 1,
                                     .kcv = {1, 2, 3, 4},
                                     .tmk = {.bytes = {9, 9}, .len = 2},
                                     .seal = {1, 1},
                                     .state = 1};
    ck_assert_ok(store_card_put(store, &card, &e), e);
    const struct store_sealed old = first_of(STORE_SEALED_CARD);
    ck_assert(swap_to(&old, 7));
    ck_assert(!swap_to(&old, 8));
    card.state = 2; /* whoever confirms has read the record before it moved */
    ck_assert_ok(store_card_written(store, &card, &e), e);
    ck_assert_ok(store_card_get(store, card.psam_number, &found, &e), e);
    ck_assert_int_eq(found.state, 2);
    ck_assert_uint_eq(found.tmk.bytes[1], 7);
    ck_assert_uint_eq(found.seal.storage, 2);
    card.kcv[0] = 9; /* another key was asked for */
    ck_assert_int_eq(store_card_written(store, &card, &e), ERR_STATE);
}
END_TEST

START_TEST(pages_and_devices_have_every_row_once)
{
    struct store_sealed rows[STORE_SEALED_OF_DEVICE], last;
    struct store_card card = {.suite = 1, .tmk = {.bytes = {9}, .len = 1}};
    size_t count = 0, seen = 0;
    for (int i = 0; i < 7; i++) {
        struct store_key_set set = key_set((uint8_t)i);
        char terminal[STORE_TERMINAL_BYTES];
        snprintf(terminal, sizeof terminal, "T%07d", i / 2);
        ck_assert_ok(store_keys_put(store, terminal, &set, &e), e);
        ck_assert_ok(store_keys_get(store, terminal, &(struct store_keys){0}, &e), e);
        if (i % 2 == 0) /* two sets of one terminal: the first is used */
            ck_assert_ok(store_keys_used(store, terminal, keys_of(terminal).sets[0].generation, &e), e);
    }
    do {
        ck_assert_ok(store_sealed_page(store, STORE_SEALED_SET, seen > 0 ? &last : NULL, 2, rows, &count, &e),
                     e);
        for (size_t i = 0; i < count; i++, seen++) {
            ck_assert_uint_eq(rows[i].blobs[1].bytes[0], seen);
            last = rows[i];
        }
    } while (count == 2);
    ck_assert_uint_eq(seen, 7);
    snprintf(card.psam_number, sizeof card.psam_number, "62010000000000000001");
    ck_assert_ok(store_card_put(store, &card, &e), e);
    put_device("T0000001", card.psam_number, 1, 1, 1);
    ck_assert_ok(store_sealed_device(store, "T0000001", rows, &count, &e), e);
    ck_assert_uint_eq(count, 3);
    ck_assert_int_eq(rows[2].kind, STORE_SEALED_CARD);
    ck_assert_ok(store_sealed_device(store, "T0000009", rows, &count, &e), e);
    ck_assert_uint_eq(count, 0);
}
END_TEST

/* A file of version 0.1 as it was: nothing is lost, and what depends on which key is not known. */
START_TEST(store_of_the_first_schema_is_taken_over)
{
    struct store_key_set set = key_set(7);
    struct store_card card = {.psam_number = "62010000000000000001",
                              .suite = 1,
                              .master_version = 1,
                              .tmk = {.bytes = {9}, .len = 1}};
    struct store_card found;
    ck_assert_ok(store_keys_put(store, "T", &set, &e), e);
    ck_assert_ok(store_card_put(store, &card, &e), e);
    change_file("ALTER TABLE key_sets DROP COLUMN storage_version;"
                "ALTER TABLE key_sets DROP COLUMN tag_version;"
                "ALTER TABLE cards DROP COLUMN storage_version;"
                "ALTER TABLE cards DROP COLUMN tag_version;"
                "ALTER TABLE cards DROP COLUMN control_suite;"
                "ALTER TABLE cards DROP COLUMN control_version;"
                "ALTER TABLE cards DROP COLUMN wrap_version;"
                "ALTER TABLE devices DROP COLUMN wrap_version;"
                "PRAGMA user_version = 1");
    ck_assert_ok(store_open(path, &store, &e), e);
    ck_assert_uint_eq(keys_of("T").sets[0].mak.bytes[0], 7);
    ck_assert_ok(store_card_get(store, card.psam_number, &found, &e), e);
    ck_assert_uint_eq(found.tmk.len, 1);
    ck_assert_uint_eq(found.seal.storage, 0);
    ck_assert_uint_eq(uses_of(STORE_USE_STORAGE, 0, 0), 3);
    ck_assert_uint_eq(uses_of(STORE_USE_CONTROL, 0, 0), 1);
    set.seal = (struct store_seal){5, 6};
    ck_assert_ok(store_keys_put(store, "T", &set, &e), e);
    ck_assert_uint_eq(uses_of(STORE_USE_STORAGE, 0, 5), 2);
}
END_TEST

/* Devices and cards of before are of wrap version 1, and all devices are followed anew: the release before
 * did not keep what POSV said of theirs. */
START_TEST(store_of_the_second_schema_follows_anew)
{
    struct store_device device;
    struct store_card card = {.psam_number = "62010000000000000001", .suite = 3, .wrap_version = 2}, found;
    int64_t revision;
    uint64_t count;
    put_device("T0000001", card.psam_number, 3, 1, 5);
    ck_assert_ok(store_device_progress(store, &revision, &count, &e), e);
    ck_assert_int_ne(revision, 0);
    ck_assert_ok(store_card_put(store, &card, &e), e);
    ck_assert_ok(store_card_get(store, card.psam_number, &found, &e), e);
    ck_assert_uint_eq(found.wrap_version, 2);
    change_file("ALTER TABLE cards DROP COLUMN wrap_version;"
                "ALTER TABLE devices DROP COLUMN wrap_version;"
                "PRAGMA user_version = 2");
    ck_assert_ok(store_open(path, &store, &e), e);
    ck_assert_ok(store_device_get(store, "T0000001", &device, &e), e);
    ck_assert_uint_eq(device.wrap_version, 1);
    ck_assert_ok(store_card_get(store, card.psam_number, &found, &e), e);
    ck_assert_uint_eq(found.wrap_version, 1);
    ck_assert_ok(store_device_progress(store, &revision, &count, &e), e);
    ck_assert_int_eq(revision, 0);
    ck_assert_uint_eq(count, 1); /* and go on working meanwhile */
    device.wrap_version = 2;
    ck_assert_ok(store_device_put(store, &device, device.revision, &e), e);
    ck_assert_ok(store_device_get(store, "T0000001", &device, &e), e);
    ck_assert_uint_eq(device.wrap_version, 2);
}
END_TEST

START_TEST(newer_schema_is_refused)
{
    struct store *other = NULL;
    change_file("PRAGMA user_version = 99");
    ck_assert_int_eq(store_open(path, &other, &e), ERR_UNSUPPORTED);
}
END_TEST

START_TEST(file_of_another_program_is_refused_and_left_alone)
{
    static const char *const others[] = {"CREATE TABLE device (id); PRAGMA application_id = 1",
                                         "CREATE TABLE device (id); PRAGMA user_version = 1",
                                         "CREATE TABLE device (id)"};
    struct store *other = NULL;
    store_free(store);
    store = NULL;
    unlink(path);
    change_file(others[_i]);
    ck_assert_int_eq(store_open(path, &other, &e), ERR_STATE);
    ck_assert_ptr_null(other);
    ck_assert_ptr_nonnull(strstr(e.note, path));
    ck_assert_ptr_nonnull(strstr(e.note, "another program"));
    change_file("CREATE TABLE devices (id)"); /* it was not made by us */
}
END_TEST

START_TEST(damaged_file_is_refused)
{
    struct store *other = NULL;
    struct stat st;
    store_free(store);
    store = NULL;
    ck_assert_int_eq(stat(path, &st), 0);
    for (off_t size = st.st_size - 4096; size > 0; size -= 4096) {
        ck_assert_int_eq(truncate(path, size - 100), 0);
        ck_assert_int_eq(store_open(path, &other, &e), ERR_IO);
        ck_assert_ptr_nonnull(strstr(e.note, path));
    }
}
END_TEST

START_TEST(second_opener_is_refused)
{
    struct store *other = NULL;
    ck_assert_int_eq(store_open(path, &other, &e), ERR_STATE);
    ck_assert_ptr_null(other);
}
END_TEST

START_TEST(store_without_a_folder_is_an_error)
{
    struct store *other = NULL;
    ck_assert_int_eq(store_open("/nonexistent/posp.db", &other, &e), ERR_IO);
    ck_assert_ptr_null(other);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("posp store");
    TCase *tc = tcase_create("store");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, store_is_for_the_owner_only);
    tcase_add_test(tc, devices_survive_and_keep_the_newest_form);
    tcase_add_test(tc, keys_of_before_stay_until_the_new_ones_are_used);
    tcase_add_test(tc, cards_are_replaced_by_number);
    tcase_add_test(tc, numbers_are_never_given_twice);
    tcase_add_test(tc, uses_count_each_card_once_and_every_blob);
    tcase_add_test(tc, swap_takes_a_set_only_as_it_was_sent);
    tcase_add_test(tc, swap_takes_a_card_only_as_it_was_sent);
    tcase_add_test(tc, pages_and_devices_have_every_row_once);
    tcase_add_test(tc, store_of_the_first_schema_is_taken_over);
    tcase_add_test(tc, store_of_the_second_schema_follows_anew);
    tcase_add_test(tc, newer_schema_is_refused);
    tcase_add_loop_test(tc, file_of_another_program_is_refused_and_left_alone, 0, 3);
    tcase_add_test(tc, damaged_file_is_refused);
    tcase_add_test(tc, second_opener_is_refused);
    tcase_add_test(tc, store_without_a_folder_is_an_error);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
