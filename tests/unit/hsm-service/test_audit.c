/* The audit log: its form, its chain, its files, and that whatever is done to it is found. */
#include "hsm-service/audit/chain.h"
#include "hsm-service/audit/store.h"
#include "hsm-service/audit/verify.h"
#include "hsm-service/audit/writer.h"

#include "tests/support/suite.h"

#include <fcntl.h>
#include <inttypes.h>
#include <nettle/bignum.h>
#include <nettle/ecc-curve.h>
#include <nettle/ecdsa.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORDS   400 /* of the log that is tampered with */
#define TAMPERS   1000
#define MANY      100000
#define FILE_MOST 1048576

static char dir[256];
static struct err e;

static struct audit_record sample(unsigned number)
{
    struct audit_record r = {.time_ms = 1795470300123 + number, .kind = AUDIT_USE};
    snprintf(r.who, sizeof r.who, "spiffe://posward/posp");
    snprintf(r.what, sizeof r.what, "DiversifyCardKey");
    snprintf(r.key, sizeof r.key, "psam-master/tdes/%u", number % 255 + 1);
    snprintf(r.grade, sizeof r.grade, "IN_TOKEN");
    snprintf(r.result, sizeof r.result, "OK");
    return r;
}

static void open_dir(void)
{
    suite_scratch_name("audit", dir, sizeof dir);
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static struct audit_store *open_store(int64_t rotate_bytes)
{
    struct audit_store *store = NULL;
    const struct audit_store_options options = {.dir = dir, .rotate_bytes = rotate_bytes};
    ck_assert_ok(audit_store_open(&options, &store, &e), e);
    return store;
}

static enum err_code verify(const struct audit_key *key, const struct audit_head *expected,
                            struct audit_summary *out_summary)
{
    char *paths[] = {dir};
    const struct audit_verify_options options = {.paths = paths,
                                                 .path_count = 1,
                                                 .key = key,
                                                 .expect_seq = expected != NULL ? expected->seq : 0,
                                                 .expect_hash = expected != NULL ? expected->hash : NULL};
    return audit_verify(&options, out_summary, &e);
}

/* ---- Form ---- */

static size_t make_line(char line[AUDIT_LINE_BYTES], struct audit_head *head)
{
    size_t len = 0;
    struct audit_record r = sample(1);
    static const char odd[] = "a \"b\" \\ % \n\xC3\xA4";
    audit_text(odd, sizeof odd - 1, r.note, sizeof r.note);
    audit_record_format(&r, head, line, &len);
    return len;
}

START_TEST(record_round_trips)
{
    char line[AUDIT_LINE_BYTES];
    struct audit_head head = {.seq = 41, .hash = {1, 2, 3}};
    struct audit_record r;
    const size_t len = make_line(line, &head);
    ck_assert_int_eq(line[len - 1], '\n');
    ck_assert_ok(audit_record_parse(line, len - 1, &r, &e), e);
    ck_assert_uint_eq(r.seq, 42);
    ck_assert_int_eq(r.time_ms, 1795470300124);
    ck_assert_str_eq(r.key, "psam-master/tdes/2");
    ck_assert_ptr_null(strpbrk(r.note, "\"\\\n"));
    ck_assert_mem_eq(r.hash, head.hash, AUDIT_HASH_BYTES);
}
END_TEST

START_TEST(record_cut_or_changed_anywhere_is_refused)
{
    char line[AUDIT_LINE_BYTES];
    struct audit_head head = {0};
    struct audit_record r;
    const size_t len = make_line(line, &head) - 1;
    for (size_t cut = 0; cut < len; cut++) {
        char *const copy = malloc(cut + 1); /* exact, for the address sanitizer */
        memcpy(copy, line, cut);
        ck_assert_int_ne(audit_record_parse(copy, cut, &r, &e), ERR_OK);
        free(copy);
    }
    for (size_t at = 0; at < len; at++)
        for (int bit = 0; bit < 8; bit++) {
            line[at] = (char)(line[at] ^ (1 << bit));
            ck_assert_msg(audit_record_parse(line, len, &r, &e) != ERR_OK, "byte %zu bit %d", at, bit);
            line[at] = (char)(line[at] ^ (1 << bit));
        }
    ck_assert_ok(audit_record_parse(line, len, &r, &e), e);
}
END_TEST

START_TEST(longest_fields_fit_a_line)
{
    char line[AUDIT_LINE_BYTES];
    struct audit_head head = {.seq = 999999999999999998};
    struct audit_record r = sample(1), back;
    size_t len = 0;
    memset(r.who, 'w', sizeof r.who - 1);
    memset(r.what, 'w', sizeof r.what - 1);
    memset(r.key, 'k', sizeof r.key - 1);
    memset(r.note, 'n', sizeof r.note - 1);
    memset(r.grade, 'g', sizeof r.grade - 1);
    memset(r.result, 'r', sizeof r.result - 1);
    memset(r.trace, 't', sizeof r.trace - 1);
    audit_record_format(&r, &head, line, &len);
    ck_assert_uint_lt(len, AUDIT_LINE_BYTES);
    ck_assert_ok(audit_record_parse(line, len - 1, &back, &e), e);
}
END_TEST

/* ---- Files ---- */

START_TEST(store_goes_on_where_it_ended)
{
    struct audit_head head = {0};
    struct audit_summary s;
    open_dir();
    for (unsigned i = 0; i < 5; i++) {
        struct audit_store *const store = open_store(FILE_MOST);
        const struct audit_record r[] = {sample(i), sample(i)};
        ck_assert_ok(audit_store_append(store, r, 2, &head, &e), e);
        audit_store_close(store);
    }
    ck_assert_uint_eq(head.seq, 10);
    ck_assert_ok(verify(NULL, &head, &s), e);
    ck_assert_uint_eq(s.records, 10);
    ck_assert_uint_eq(s.files, 1);
}
END_TEST

START_TEST(two_writers_share_the_chain)
{
    struct audit_head head;
    struct audit_summary s;
    open_dir();
    struct audit_store *const service = open_store(4096), *const ceremony = open_store(0);
    struct audit_store *second = NULL;
    const struct audit_store_options options = {.dir = dir, .rotate_bytes = 4096};
    ck_assert_int_eq(audit_store_open(&options, &second, &e), ERR_STATE);
    for (unsigned i = 0; i < 50; i++) {
        const struct audit_record r = sample(i);
        ck_assert_ok(audit_store_append(i % 3 == 0 ? ceremony : service, &r, 1, &head, &e), e);
    }
    audit_store_close(service);
    audit_store_close(ceremony);
    ck_assert_ok(verify(NULL, &head, &s), e);
    ck_assert_uint_gt(s.files, 3);
}
END_TEST

static void newest_path(char *out_path, size_t capacity)
{
    char **names = NULL;
    size_t count = 0;
    ck_assert_ok(audit_store_list(dir, &names, &count, &e), e);
    snprintf(out_path, capacity, "%s/%s", dir, names[count - 1]);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* A kill leaves any part of the last line. */
START_TEST(next_service_waits_until_the_one_before_has_ended)
{
    open_dir();
    struct audit_store *store = open_store(FILE_MOST), *next = NULL;
    const struct audit_store_options options = {.dir = dir, .rotate_bytes = FILE_MOST};
    int told[2];
    char byte;
    ck_assert_int_eq(pipe(told), 0);
    const pid_t ending = fork(); /* holds what its parent opened, as a process that is being killed */
    if (ending == 0) {
        close(told[0]);
        if (write(told[1], "x", 1) != 1)
            _exit(1);
        usleep(300000);
        _exit(0);
    }
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    audit_store_close(store);
    ck_assert_ok(audit_store_open(&options, &next, &e), e);
    audit_store_close(next);
    ck_assert_int_eq(waitpid(ending, NULL, 0), ending);
    close(told[0]);
    close(told[1]);
}
END_TEST

START_TEST(torn_tail_is_closed_off_wherever_it_was_cut)
{
    char path[512];
    struct stat st;
    struct audit_head head;
    struct audit_summary s;
    const struct audit_record r = sample(7);
    open_dir();
    struct audit_store *store = open_store(FILE_MOST);
    ck_assert_ok(audit_store_append(store, &r, 1, &head, &e), e);
    audit_store_close(store);
    newest_path(path, sizeof path);
    ck_assert_int_eq(stat(path, &st), 0);
    const off_t line = st.st_size;
    for (off_t cut = 1; cut < line; cut += 13) {
        store = open_store(FILE_MOST);
        ck_assert_ok(audit_store_append(store, &r, 1, &head, &e), e);
        ck_assert_int_eq(stat(path, &st), 0);
        audit_store_close(store);
        ck_assert_int_eq(truncate(path, st.st_size - cut), 0);
        ck_assert_int_eq(verify(NULL, NULL, &s), ERR_CHECK);
        store = open_store(FILE_MOST);
        ck_assert_ok(audit_store_append(store, &r, 1, &head, &e), e);
        audit_store_close(store);
        ck_assert_ok(verify(NULL, &head, &s), e);
    }
    ck_assert_uint_gt(s.torn, 10);
}
END_TEST

START_TEST(changed_log_is_not_gone_on_with)
{
    char path[512];
    struct audit_head head;
    struct audit_store *store = NULL;
    const struct audit_record r[] = {sample(1), sample(2), sample(3)};
    open_dir();
    store = open_store(FILE_MOST);
    ck_assert_ok(audit_store_append(store, r, 3, &head, &e), e);
    audit_store_close(store);
    newest_path(path, sizeof path);
    const int fd = open(path, O_WRONLY);
    ck_assert_int_eq(pwrite(fd, "X", 1, 60), 1);
    close(fd);
    const struct audit_store_options options = {.dir = dir, .rotate_bytes = FILE_MOST};
    ck_assert_int_eq(audit_store_open(&options, &store, &e), ERR_CHECK);
    ck_assert_ptr_nonnull(strstr(e.note, "record 1 was changed"));
}
END_TEST

/* A file of an enemy's must not eat the auditor's memory. */
START_TEST(endless_line_is_read_in_bounds)
{
    char path[512];
    struct audit_head head;
    struct audit_summary s;
    const struct audit_record r = sample(1);
    open_dir();
    struct audit_store *store = open_store(FILE_MOST);
    ck_assert_ok(audit_store_append(store, &r, 1, &head, &e), e);
    audit_store_close(store);
    newest_path(path, sizeof path);
    ck_assert_int_eq(truncate(path, (off_t)1 << 36), 0); /* sparse: a line of 64 GiB of NULs */
    ck_assert_int_eq(verify(NULL, NULL, &s), ERR_CHECK);
    ck_assert_ptr_nonnull(strstr(e.note, "record 2 was changed: the line is longer than any record"));
    const struct audit_store_options options = {.dir = dir, .rotate_bytes = FILE_MOST};
    ck_assert_int_eq(audit_store_open(&options, &store, &e), ERR_CHECK);
    ck_assert_int_eq(truncate(path, 0), 0);
}
END_TEST

START_TEST(full_disk_fails_and_recovers)
{
    struct audit_head head;
    struct audit_summary s;
    struct audit_record r[AUDIT_BATCH_MOST];
    open_dir();
    for (unsigned i = 0; i < AUDIT_BATCH_MOST; i++)
        r[i] = sample(i);
    struct audit_store *const store = open_store(FILE_MOST);
    ck_assert_ok(audit_store_append(store, r, 3, &head, &e), e);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){5000, RLIM_INFINITY});
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(audit_store_append(store, r, AUDIT_BATCH_MOST, &head, &e), ERR_IO);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    ck_assert_ok(audit_store_append(store, r, AUDIT_BATCH_MOST, &head, &e), e);
    audit_store_close(store);
    ck_assert_uint_eq(head.seq, 3 + AUDIT_BATCH_MOST);
    ck_assert_ok(verify(NULL, &head, &s), e);
}
END_TEST

static _Atomic int on_disk_count, not_count;
static void count_done(void *context, bool on_disk)
{
    (void)context;
    if (on_disk)
        on_disk_count++;
    else
        not_count++;
}

START_TEST(writer_tells_when_and_keeps_what_waits)
{
    struct audit_writer *w = NULL;
    struct audit_summary s;
    const struct audit_record r = sample(1);
    open_dir();
    ck_assert_ok(audit_writer_start(open_store(FILE_MOST), &w, &e), e);
    for (int i = 0; i < 1000; i++)
        audit_writer_post(w, &r, count_done, NULL);
    audit_writer_flush(w, 5000);
    ck_assert(audit_writer_healthy(w));
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1, RLIM_INFINITY});
    for (int i = 0; i < AUDIT_QUEUE_MOST + 50; i++)
        audit_writer_post(w, &r, count_done, NULL);
    audit_writer_flush(w, 500);
    ck_assert(!audit_writer_healthy(w));
    ck_assert_uint_gt(audit_writer_counts(w).lost, 0);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    for (int i = 0; i < 100 && audit_writer_counts(w).waiting > 0; i++)
        usleep(50000);
    ck_assert(audit_writer_healthy(w));
    audit_writer_stop(w);
    ck_assert_int_eq(on_disk_count, 1000);
    ck_assert_int_eq(not_count, AUDIT_QUEUE_MOST + 50);
    ck_assert_ok(verify(NULL, NULL, &s), e);
    ck_assert_uint_ge(s.lost, 1);
    ck_assert_uint_eq(s.records, 1000 + AUDIT_QUEUE_MOST + s.lost + s.files - 1); /* each file says so */
}
END_TEST

/* ---- Signatures ---- */

struct signer {
    struct ecc_scalar secret;
    struct audit_key key;
};

static void read_urandom(void *context, size_t len, uint8_t *out)
{
    (void)context;
    FILE *const file = fopen("/dev/urandom", "r");
    ck_assert_uint_eq(fread(out, 1, len, file), len);
    fclose(file);
}

static void make_signer(struct signer *s)
{
    struct ecc_point point;
    mpz_t x, y;
    mpz_init(x);
    mpz_init(y);
    ecc_point_init(&point, nettle_get_secp_256r1());
    ecc_scalar_init(&s->secret, nettle_get_secp_256r1());
    ecdsa_generate_keypair(&point, &s->secret, NULL, read_urandom);
    ecc_point_get(&point, x, y);
    s->key.point[0] = 4;
    nettle_mpz_get_str_256(32, s->key.point + 1, x);
    nettle_mpz_get_str_256(32, s->key.point + 33, y);
    mpz_clear(x);
    mpz_clear(y);
    ecc_point_clear(&point);
}

static void signer_drop(struct signer *s)
{
    ecc_scalar_clear(&s->secret);
}

static void sign(const struct signer *s, const struct audit_head *head, uint8_t out_signature[64])
{
    uint8_t digest[AUDIT_HASH_BYTES];
    struct dsa_signature rs;
    dsa_signature_init(&rs);
    audit_checkpoint_digest(head, digest);
    ecdsa_sign(&s->secret, NULL, read_urandom, sizeof digest, digest, &rs);
    nettle_mpz_get_str_256(32, out_signature, rs.r);
    nettle_mpz_get_str_256(32, out_signature + 32, rs.s);
    dsa_signature_clear(&rs);
}

static struct audit_record checkpoint(const struct signer *s, const struct audit_head *head)
{
    uint8_t signature[AUDIT_SIGNATURE_BYTES];
    struct audit_record r = {.time_ms = 1795470300123, .kind = AUDIT_CHECKPOINT};
    sign(s, head, signature);
    audit_checkpoint_note(head, signature, r.note);
    return r;
}

START_TEST(key_file_round_trips)
{
    char path[512];
    AUTO(signer) s;
    struct audit_key back;
    open_dir();
    make_signer(&s);
    snprintf(path, sizeof path, "%s/key.pem", dir);
    ck_assert_ok(audit_key_write(&s.key, path, &e), e);
    ck_assert_ok(audit_key_read(path, &back, &e), e);
    ck_assert_mem_eq(back.point, s.key.point, sizeof back.point);
    ck_assert_int_eq(truncate(path, 100), 0);
    ck_assert_int_eq(audit_key_read(path, &back, &e), ERR_INPUT);
}
END_TEST

/* `count` records with a checkpoint every 50, in several files. */
static struct audit_head make_log(const struct signer *s, unsigned count, int64_t rotate_bytes)
{
    struct audit_head head = {0};
    struct audit_record batch[AUDIT_BATCH_MOST];
    open_dir();
    struct audit_store *const store = open_store(rotate_bytes);
    for (unsigned i = 0; i < count; i += 50) {
        for (unsigned k = 0; k < 49; k++)
            batch[k] = sample(i + k);
        ck_assert_ok(audit_store_append(store, batch, 49, &head, &e), e);
        batch[0] = checkpoint(s, &head);
        ck_assert_ok(audit_store_append(store, batch, 1, &head, &e), e);
    }
    audit_store_close(store);
    return head;
}

START_TEST(another_key_or_a_rewritten_log_is_found)
{
    AUTO(signer) own, other;
    struct audit_summary s;
    make_signer(&own);
    make_signer(&other);
    const struct audit_head head = make_log(&own, 200, FILE_MOST);
    ck_assert_ok(verify(&own.key, &head, &s), e);
    ck_assert_uint_eq(s.checkpoints, 4);
    ck_assert_int_eq(verify(&other.key, NULL, &s), ERR_CHECK);
    ck_assert_ptr_nonnull(strstr(e.note, "signature in record 50 over record 49"));
    struct audit_store *const store = open_store(FILE_MOST); /* a checkpoint that names another hash */
    struct audit_head lie = head, after;
    lie.hash[5] ^= 1;
    const struct audit_record r = checkpoint(&own, &lie);
    ck_assert_ok(audit_store_append(store, &r, 1, &after, &e), e);
    audit_store_close(store);
    ck_assert_int_eq(verify(&own.key, NULL, &s), ERR_CHECK);
    ck_assert_ptr_nonnull(strstr(e.note, "is not the one that was signed"));
}
END_TEST

/* ---- Tampering ---- */

struct text {
    char *bytes, *path;
    size_t len, lines;
    size_t starts[RECORDS + 64];
};

static void load(struct text *t, const char *path)
{
    FILE *const file = fopen(path, "r");
    t->bytes = malloc(FILE_MOST);
    t->len = fread(t->bytes, 1, FILE_MOST, file);
    fclose(file);
    t->lines = 0;
    for (size_t i = 0; i < t->len; i++)
        if (i == 0 || t->bytes[i - 1] == '\n')
            t->starts[t->lines++] = i;
    t->starts[t->lines] = t->len;
}

static void store_text(const char *path, const char *const *parts, const size_t *lens, size_t count)
{
    FILE *const file = fopen(path, "w");
    for (size_t i = 0; i < count; i++)
        fwrite(parts[i], 1, lens[i], file);
    fclose(file);
}

static void swap_or_drop(const struct text *t, const char *path, size_t a, size_t b, bool swap)
{
    const char *at = t->bytes;
    const size_t *n = t->starts;
    const char *parts[] = {at, at + n[b], at + n[a + 1], at + n[a], at + n[b + 1]};
    const size_t lens[] = {n[a], swap ? n[b + 1] - n[b] : 0, n[b] - n[a + 1],
                           swap ? n[a + 1] - n[a] : n[b + 1] - n[b], t->len - n[b + 1]};
    if (!swap)
        parts[3] = at + n[b];
    store_text(path, parts, lens, 5);
}

/* _i: 0 changes, 1 drops, 2 swaps, 3 truncations. */
START_TEST(every_tampering_is_found)
{
    AUTO(signer) signer;
    struct audit_summary s;
    struct text t;
    char path[512];
    make_signer(&signer);
    const struct audit_head head = make_log(&signer, RECORDS, FILE_MOST);
    newest_path(path, sizeof path);
    load(&t, path);
    srandom(20261123);
    for (int i = 0; i < TAMPERS; i++) {
        const size_t line = (size_t)random() % (t.lines - 1),
                     other = line + 1 + (size_t)random() % (t.lines - line - 1);
        const size_t at = (size_t)random() % t.len;
        const char was = t.bytes[at];
        char named[64] = "";
        if (_i == 0) {
            t.bytes[at] = (char)(was ^ (1 + random() % 255));
            store_text(path, (const char *[]){t.bytes}, &t.len, 1);
            size_t changed = 0;
            while (t.starts[changed + 1] <= at)
                changed++;
            t.bytes[at] = was;
            snprintf(named, sizeof named, "record %zu", changed + 1);
        } else if (_i == 3) {
            store_text(path, (const char *[]){t.bytes}, &at, 1);
        } else {
            swap_or_drop(&t, path, line, other, _i == 2);
            snprintf(named, sizeof named, _i == 2 ? "record %zu was moved" : "record %zu is missing",
                     line + 1);
        }
        ck_assert_msg(verify(&signer.key, &head, &s) != ERR_OK, "tampering %d at %zu", i, at);
        ck_assert_msg(strstr(e.note, named) != NULL, "tampering %d at %zu: '%s' does not say '%s'", i, at,
                      e.note, named);
    }
    store_text(path, (const char *[]){t.bytes}, &t.len, 1);
    ck_assert_ok(verify(&signer.key, &head, &s), e);
    free(t.bytes);
}
END_TEST

START_TEST(many_records_are_verified)
{
    AUTO(signer) signer;
    struct audit_summary s;
    const char *const count = getenv("POSWARD_AUDIT_RECORDS");
    const unsigned many = count != NULL ? (unsigned)atoi(count) : MANY;
    make_signer(&signer);
    const struct audit_head head = make_log(&signer, many, 4 * FILE_MOST);
    ck_assert_ok(verify(&signer.key, &head, &s), e);
    ck_assert_uint_ge(s.records, many);
    ck_assert_uint_gt(s.files, 5);
    ck_assert_uint_ge(s.checkpoints, many / 50);
}
END_TEST

/* The token takes its time: a checkpoint signs what was there when it was asked for. */
START_TEST(writer_counts_what_is_not_signed)
{
    struct audit_writer *w = NULL;
    AUTO(signer) s;
    const struct audit_record r = sample(1);
    make_signer(&s);
    open_dir();
    ck_assert_ok(audit_writer_start(open_store(FILE_MOST), &w, &e), e);
    ck_assert_int_eq(audit_writer_counts(w).unsigned_ms, 0);
    for (int i = 0; i < 5; i++)
        audit_writer_post(w, &r, NULL, NULL);
    audit_writer_flush(w, 20000);
    const struct audit_head then = audit_writer_counts(w).head;
    usleep(3000);
    ck_assert_int_ge(audit_writer_counts(w).unsigned_ms, 2);
    ck_assert_int_eq(audit_writer_counts(w).waiting_ms, 0);
    for (int i = 0; i < 3; i++)
        audit_writer_post(w, &r, NULL, NULL);
    const struct audit_record over_five = checkpoint(&s, &then);
    audit_writer_post(w, &over_five, NULL, NULL);
    audit_writer_flush(w, 20000);
    ck_assert_uint_eq(audit_writer_counts(w).unsigned_records, 3);
    const struct audit_head now = audit_writer_counts(w).head;
    const struct audit_record over_all = checkpoint(&s, &now);
    audit_writer_post(w, &over_all, NULL, NULL);
    audit_writer_flush(w, 20000);
    ck_assert_uint_eq(audit_writer_counts(w).unsigned_records, 0);
    ck_assert_int_eq(audit_writer_counts(w).unsigned_ms, 0);
    audit_writer_stop(w);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm audit");
    TCase *t = tcase_create("audit");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, record_round_trips);
    tcase_add_test(t, record_cut_or_changed_anywhere_is_refused);
    tcase_add_test(t, longest_fields_fit_a_line);
    tcase_add_test(t, store_goes_on_where_it_ended);
    tcase_add_test(t, two_writers_share_the_chain);
    tcase_add_test(t, next_service_waits_until_the_one_before_has_ended);
    tcase_add_test(t, torn_tail_is_closed_off_wherever_it_was_cut);
    tcase_add_test(t, changed_log_is_not_gone_on_with);
    tcase_add_test(t, endless_line_is_read_in_bounds);
    tcase_add_test(t, full_disk_fails_and_recovers);
    tcase_add_test(t, writer_tells_when_and_keeps_what_waits);
    tcase_add_test(t, key_file_round_trips);
    tcase_add_test(t, another_key_or_a_rewritten_log_is_found);
    tcase_add_test(t, writer_counts_what_is_not_signed);
    tcase_add_loop_test(t, every_tampering_is_found, 0, 4);
    tcase_add_test(t, many_records_are_verified);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())
