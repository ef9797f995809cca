/* The second copy of a SoftHSM token: what is kept, what comes back, and what never does. */
#include "base/file.h"
#include "hsm-service/tokendir/tokendir.h"
#include "p11/keys/keys.h"
#include "p11/tok.h"
#include "tests/support/suite.h"
#include "tests/support/token.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct token_fixture master, fixture;
static struct err e;
static char tokens[128], backup[128], token[256], kept[256];
static struct tokendir options;

static void make_master(void)
{
    token_make(&master, TOKEN_SOFTHSM);
}

static void remove_master(void)
{
    token_remove(&master);
}

/* The one folder in `parent`. */
static void only_folder(const char *parent, char *out_path, size_t capacity)
{
    DIR *const dir = opendir(parent);
    ck_assert_ptr_nonnull(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && entry->d_type == DT_DIR)
            snprintf(out_path, capacity, "%s/%.80s", parent, entry->d_name);
    closedir(dir);
}

static void set_up(void)
{
    token_copy(&fixture, &master);
    (void)token_options(&fixture);
    FILE *const conf = fopen(getenv("SOFTHSM2_CONF"), "re");
    ck_assert_ptr_nonnull(conf);
    char line[256];
    while (fgets(line, sizeof line, conf) != NULL)
        (void)sscanf(line, "directories.tokendir = %127s", tokens);
    fclose(conf);
    only_folder(tokens, token, sizeof token);
    snprintf(backup, sizeof backup, "%s/kept", fixture.dir);
    snprintf(kept, sizeof kept, "%s%s", backup, strrchr(token, '/'));
    options = (struct tokendir){.label = TOKEN_LABEL, .backup = backup, .lock_path = fixture.lock_path};
}

static void tear_down(void)
{
    token_remove(&fixture);
}

static void write_file(const char *folder, const char *name, const void *bytes, size_t len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_ok(file_replace(path, bytes, len, 0600, &e), e);
}

static size_t size_of(const char *folder, const char *name)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) == 0 ? (size_t)st.st_size : (size_t)-1;
}

static unsigned count_objects(const char *folder)
{
    unsigned count = 0;
    DIR *const dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += strstr(entry->d_name, ".object") != NULL && strncmp(entry->d_name, "token", 5) != 0;
    closedir(dir);
    return count;
}

static const struct tok_key_name storage = {.role = TOK_STORAGE, .suite = TOK_AES_256, .version = 1};

static void with_token(void (*act)(struct tok *tok))
{
    struct tok *tok = NULL;
    ck_assert_ok(tok_open(token_options(&fixture), &tok, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    act(tok);
    tok_close(tok);
}

static void make_key(struct tok *tok)
{
    struct tok_key_info info;
    ck_assert_ok(tok_key_generate(tok, &storage, TOK_KEY_PRE_ACTIVE, &info, &e), e);
}

static void destroy_key(struct tok *tok)
{
    ck_assert_ok(tok_key_destroy(tok, &storage, &e), e);
}

static void expect_key(struct tok *tok)
{
    ck_assert_uint_eq(tok_keys_count(tok), 1);
}

static void expect_no_key(struct tok *tok)
{
    ck_assert_uint_eq(tok_keys_count(tok), 0);
}

static void mend(bool done)
{
    char notice[TOKENDIR_NOTICE_BYTES];
    ck_assert_ok(tokendir_mend(&options, notice, &e), e);
    ck_assert_msg((strstr(notice, "restored") != NULL) == done, "notice: %s", notice);
}

START_TEST(emptied_token_object_comes_back_with_keys_made_since)
{
    ck_assert_ok(tokendir_keep(&options, &e), e);
    with_token(make_key); /* after the backup */
    write_file(token, "token.object", "", 0);
    mend(true);
    with_token(expect_key);
    mend(false);
}
END_TEST

START_TEST(cut_and_missing_token_objects_come_back)
{
    ck_assert_ok(tokendir_keep(&options, &e), e);
    const size_t whole = size_of(token, "token.object");
    uint8_t *bytes = NULL;
    size_t len = 0;
    char path[512];
    snprintf(path, sizeof path, "%s/token.object", token);
    ck_assert_ok(file_read(path, TOKENDIR_OBJECT_BYTES, &bytes, &len, &e), e);
    for (size_t cut = 0; cut < len; cut += 7) {
        write_file(token, "token.object", bytes, cut);
        mend(true);
        ck_assert_uint_eq(size_of(token, "token.object"), whole);
    }
    ck_assert_int_eq(unlink(path), 0);
    mend(true);
    ck_assert_uint_eq(size_of(token, "token.object"), whole);
    free(bytes);
}
END_TEST

START_TEST(damaged_object_is_never_kept)
{
    ck_assert_ok(tokendir_keep(&options, &e), e);
    const size_t whole = size_of(kept, "token.object");
    write_file(token, "token.object", "", 0);
    ck_assert_ok(tokendir_keep(&options, &e), e);
    ck_assert_uint_eq(size_of(kept, "token.object"), whole);
    mend(true);
    with_token(make_key);
    ck_assert_ok(tokendir_keep(&options, &e), e);
    const unsigned objects = count_objects(kept);
    ck_assert_uint_eq(objects, 2); /* the key and its state */
    write_file(token, "11111111-2222-3333-4444-555555555555.object", "\0\0\0", 3);
    ck_assert_ok(tokendir_keep(&options, &e), e);
    ck_assert_uint_eq(count_objects(kept), objects);
}
END_TEST

START_TEST(older_generation_serves_when_the_newest_is_damaged_too)
{
    ck_assert_ok(tokendir_keep(&options, &e), e);
    with_token(expect_no_key);
    ck_assert_ok(tokendir_keep(&options, &e), e); /* a login has written another one */
    ck_assert_uint_ne(size_of(kept, "token.object.1"), (size_t)-1);
    write_file(kept, "token.object", "x", 1);
    write_file(token, "token.object", "", 0);
    mend(true);
    write_file(kept, "token.object.1", "x", 1);
    write_file(kept, "token.object.2", "x", 1);
    write_file(token, "token.object", "", 0);
    char notice[TOKENDIR_NOTICE_BYTES];
    ck_assert_int_eq(tokendir_mend(&options, notice, &e), ERR_CHECK);
    ck_assert_ptr_nonnull(strstr(e.note, "no generation"));
}
END_TEST

START_TEST(destroyed_key_leaves_the_backup_too)
{
    with_token(make_key);
    ck_assert_ok(tokendir_keep(&options, &e), e);
    ck_assert_uint_eq(count_objects(kept), 2);
    with_token(destroy_key);
    ck_assert_ok(tokendir_keep(&options, &e), e);
    ck_assert_uint_eq(count_objects(kept), 0);
}
END_TEST

START_TEST(others_and_nothing_are_left_alone)
{
    char notice[TOKENDIR_NOTICE_BYTES];
    options.label = "somebody else's";
    ck_assert_ok(tokendir_keep(&options, &e), e);
    ck_assert_int_ne(access(kept, F_OK), 0);
    options.backup = "";
    ck_assert_ok(tokendir_keep(&options, &e), e);
    ck_assert_ok(tokendir_mend(&options, notice, &e), e);
    options = (struct tokendir){.label = TOKEN_LABEL, .backup = "/proc/none/of/this"};
    ck_assert_int_eq(tokendir_keep(&options, &e), ERR_IO);
    options = (struct tokendir){.label = TOKEN_LABEL, .backup = backup, .directory = "/nowhere/at/all"};
    ck_assert_ok(tokendir_keep(&options, &e), e);
}
END_TEST

START_TEST(only_whole_objects_are_whole)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    char path[512];
    snprintf(path, sizeof path, "%s/token.object", token);
    ck_assert_ok(file_read(path, TOKENDIR_OBJECT_BYTES, &bytes, &len, &e), e);
    ck_assert(tokendir_object_is_whole(bytes, len));
    ck_assert(tokendir_is_token(bytes, len, TOKEN_LABEL));
    ck_assert(!tokendir_is_token(bytes, len, "posward-tes"));
    for (size_t cut = 0; cut < len; cut++)
        ck_assert(!tokendir_is_token(bytes, cut, TOKEN_LABEL));
    free(bytes);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm-service/tokendir");
    TCase *tc = tcase_create("tokendir");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_master, remove_master);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, emptied_token_object_comes_back_with_keys_made_since);
    tcase_add_test(tc, cut_and_missing_token_objects_come_back);
    tcase_add_test(tc, damaged_object_is_never_kept);
    tcase_add_test(tc, older_generation_serves_when_the_newest_is_damaged_too);
    tcase_add_test(tc, destroyed_key_leaves_the_backup_too);
    tcase_add_test(tc, others_and_nothing_are_left_alone);
    tcase_add_test(tc, only_whole_objects_are_whole);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
