/* A store in a folder of its own for a test, and requests in short form. */
#ifndef POSWARD_TESTS_UNIT_POSV_STORE_FIXTURE_H
#define POSWARD_TESTS_UNIT_POSV_STORE_FIXTURE_H

#include "posv/store.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
    char path[64];
    char db[80];
};

static inline void folder_make(struct folder *out_folder)
{
    suite_scratch_name("posv", out_folder->path, sizeof out_folder->path);
    ck_assert_ptr_nonnull(mkdtemp(out_folder->path));
    snprintf(out_folder->db, sizeof out_folder->db, "%s/posv.db", out_folder->path);
}

static inline void folder_remove(const struct folder *folder)
{
    static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
    char name[100];
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        snprintf(name, sizeof name, "%s%s", folder->db, endings[i]);
        unlink(name);
    }
    rmdir(folder->path);
}

static inline struct store *store_must_open(const struct folder *folder)
{
    struct err e = {0};
    struct store *store = NULL;
    ck_assert_ok(store_open_sqlite(folder->db, 5000, &store, &e), e);
    return store;
}

#define MERCHANT "898100012345678"
#define CARD_A   "62010000001234567890"
#define CARD_B   "62010000001234567906"

static inline struct device_request registration(const char *terminal_id, const char *psam_number)
{
    return (struct device_request){.action = DEVICE_REGISTER,
                                   .terminal_id = terminal_id,
                                   .merchant_id = MERCHANT,
                                   .psam_number = psam_number,
                                   .reason = "",
                                   .suite = 1,
                                   .master_version = 1};
}

static inline struct device_request replacement(const char *terminal_id, const char *psam_number)
{
    struct device_request request = registration(terminal_id, psam_number);
    request.action = DEVICE_REPLACE_CARD;
    request.merchant_id = "";
    request.reason = "card lost";
    return request;
}

static inline struct device_request move(enum device_action action, const char *terminal_id,
                                         const char *reason)
{
    return (struct device_request){
        .action = action, .terminal_id = terminal_id, .merchant_id = "", .psam_number = "", .reason = reason};
}

static inline struct device must_change(struct store *store, struct device_request request)
{
    struct err e = {0};
    struct device device;
    ck_assert_ok(device_check(&request, &e), e);
    ck_assert_ok(store_change(store, &request, &device, &e), e);
    return device;
}

static inline void must_refuse(struct store *store, struct device_request request, enum err_code code,
                               const char *note)
{
    struct err e = {0};
    struct device device;
    ck_assert_int_eq(store_change(store, &request, &device, &e), code);
    ck_assert_msg(strstr(e.note, note) != NULL, "note is '%s', without '%s'", e.note, note);
}

#endif
