/* How long an audit log takes to write and to verify: a log of its own in a folder that goes again, with a
 * checkpoint every 1,000 records, in files of 64 MiB. Then single records are changed, dropped and swapped,
 * and the end is cut: each must be found.
 *
 * usage: bench_audit [RECORDS [TAMPERINGS]]    (1000000, 4) */
#include "base/clock.h"
#include "hsm-service/audit/store.h"
#include "hsm-service/audit/verify.h"
#include "run/cli_progress.h"

#include <fcntl.h>
#include <inttypes.h>
#include <nettle/bignum.h>
#include <nettle/ecc-curve.h>
#include <nettle/ecdsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECKPOINT_EVERY 1000
#define FILE_BYTES       67108864
#define RECORDS_MOST     100000000

struct log {
    char dir[64];
    struct ecc_scalar secret;
    struct audit_key key;
    struct audit_head head;
};

static void fail(const char *what, const struct err *e)
{
    fprintf(stderr, "bench_audit: %s: %s\n", what, e->note);
    exit(EXIT_FAILURE);
}

static void get_random(void *context, size_t len, uint8_t *out)
{
    (void)context;
    if (getrandom(out, len, 0) != (ssize_t)len)
        abort();
}

static void make_key(struct log *log)
{
    struct ecc_point point;
    mpz_t x, y;
    mpz_inits(x, y, NULL);
    ecc_point_init(&point, nettle_get_secp_256r1());
    ecc_scalar_init(&log->secret, nettle_get_secp_256r1());
    ecdsa_generate_keypair(&point, &log->secret, NULL, get_random);
    ecc_point_get(&point, x, y);
    log->key.point[0] = 4;
    nettle_mpz_get_str_256(32, log->key.point + 1, x);
    nettle_mpz_get_str_256(32, log->key.point + 33, y);
    mpz_clears(x, y, NULL);
    ecc_point_clear(&point);
}

static struct audit_record checkpoint(const struct log *log)
{
    struct audit_record r = {
        .kind = AUDIT_CHECKPOINT, .time_ms = clock_wall_ms(), .who = "audit", .result = "OK"};
    uint8_t digest[AUDIT_HASH_BYTES], signature[AUDIT_SIGNATURE_BYTES];
    struct dsa_signature rs;
    dsa_signature_init(&rs);
    audit_checkpoint_digest(&log->head, digest);
    ecdsa_sign(&log->secret, NULL, get_random, sizeof digest, digest, &rs);
    nettle_mpz_get_str_256(32, signature, rs.r);
    nettle_mpz_get_str_256(32, signature + 32, rs.s);
    dsa_signature_clear(&rs);
    audit_checkpoint_note(&log->head, signature, r.note);
    return r;
}

static void fill(struct audit_record *r, uint64_t number)
{
    *r = (struct audit_record){
        .kind = AUDIT_USE, .time_ms = clock_wall_ms(), .result = "OK", .grade = "IN_TOKEN"};
    snprintf(r->who, sizeof r->who, "spiffe://posward/posp");
    snprintf(r->what, sizeof r->what, "GenerateWorkingKeys");
    snprintf(r->key, sizeof r->key, "psam-master/tdes/%" PRIu64, number % 3 + 1);
    snprintf(r->note, sizeof r->note, "psam=6201%016" PRIu64 " keys=3", number);
    snprintf(r->trace, sizeof r->trace, "%032" PRIx64, number);
}

static void write_log(struct log *log, uint64_t records)
{
    struct err e = {0};
    struct audit_store *store = NULL;
    struct cli_progress bar;
    static struct audit_record batch[AUDIT_BATCH_MOST];
    const struct audit_store_options options = {.dir = log->dir, .rotate_bytes = FILE_BYTES};
    if (audit_store_open(&options, &store, &e) != ERR_OK)
        fail("open", &e);
    cli_progress_start(&bar, "writing", "records", 1, records);
    uint64_t since = 0;
    while (log->head.seq < records) {
        size_t count = 0;
        while (count < AUDIT_BATCH_MOST - 1 && log->head.seq + count < records &&
               since + count < CHECKPOINT_EVERY) {
            fill(&batch[count], log->head.seq + count);
            count++;
        }
        since += count;
        if (count == 0) {
            batch[count++] = checkpoint(log);
            since = 0;
        }
        if (audit_store_append(store, batch, count, &log->head, &e) != ERR_OK)
            fail("append", &e);
        cli_progress_step(&bar, log->head.seq);
    }
    batch[0] = checkpoint(log);
    if (audit_store_append(store, batch, 1, &log->head, &e) != ERR_OK)
        fail("append", &e);
    cli_progress_done(&bar);
    audit_store_close(store);
}

static void show(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    struct cli_progress *const bar = context;
    if (bar->what == NULL)
        cli_progress_start(bar, "verifying", "MiB", 1048576, all_bytes);
    cli_progress_step(bar, done_bytes);
}

static enum err_code verify(const struct log *log, struct audit_summary *out_summary, struct err *e)
{
    struct cli_progress bar = {0};
    char *paths[] = {(char *)(uintptr_t)log->dir};
    const struct audit_verify_options options = {.paths = paths,
                                                 .path_count = 1,
                                                 .key = &log->key,
                                                 .expect_seq = log->head.seq,
                                                 .expect_hash = log->head.hash,
                                                 .progress = show,
                                                 .context = &bar};
    const enum err_code code = audit_verify(&options, out_summary, e);
    cli_progress_done(&bar);
    return code;
}

/* ---- Tampering: one of the log's files, somewhere ---- */

struct file {
    char path[128];
    char *bytes;
    size_t len;
};

static void read_file(const struct log *log, struct file *f)
{
    char **names = NULL;
    size_t count = 0;
    struct err e = {0};
    struct stat st;
    if (audit_store_list(log->dir, &names, &count, &e) != ERR_OK)
        fail("list", &e);
    const size_t pick = (size_t)random() % count;
    snprintf(f->path, sizeof f->path, "%s/%s", log->dir, names[pick]);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    const int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || (f->bytes = malloc((size_t)st.st_size)) == NULL ||
        read(fd, f->bytes, (size_t)st.st_size) != st.st_size)
        abort();
    close(fd);
    f->len = (size_t)st.st_size;
}

static void write_file(const struct file *f, const char *bytes, size_t len)
{
    const int fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
        abort();
    close(fd);
}

/* Start of the line that holds byte `at`, and of the next. */
static void line_at(const struct file *f, size_t at, size_t *out_from, size_t *out_to)
{
    *out_from = at;
    while (*out_from > 0 && f->bytes[*out_from - 1] != '\n')
        --*out_from;
    const char *const end = memchr(f->bytes + at, '\n', f->len - at);
    *out_to = end != NULL ? (size_t)(end - f->bytes) + 1 : f->len;
}

/* A changed byte, a line dropped, two lines swapped, the end cut. */
static void tamper(const struct file *f, int kind)
{
    char *const copy = malloc(f->len);
    size_t from, to, next, at = (size_t)random() % (f->len - 3000), len = f->len;
    if (copy == NULL)
        abort();
    memcpy(copy, f->bytes, f->len);
    line_at(f, at, &from, &to);
    line_at(f, to, &to, &next);
    if (kind == 0) {
        copy[at] = (char)(copy[at] ^ (1 + random() % 255));
    } else if (kind == 1) {
        memmove(copy + from, copy + to, f->len - to);
        len -= to - from;
    } else if (kind == 2) {
        memcpy(copy + from, f->bytes + to, next - to);
        memcpy(copy + from + (next - to), f->bytes + from, to - from);
    } else {
        len = at;
    }
    write_file(f, copy, len);
    free(copy);
}

static void tamper_and_find(const struct log *log, unsigned times)
{
    static const char *const kinds[] = {"change", "drop", "swap", "truncation"};
    for (unsigned i = 0; i < times; i++) {
        struct file f = {0};
        struct audit_summary s;
        struct err e = {0};
        read_file(log, &f);
        tamper(&f, (int)(i % 4));
        if (verify(log, &s, &e) == ERR_OK) {
            fprintf(stderr, "bench_audit: a %s in %s was not found\n", kinds[i % 4], f.path);
            exit(EXIT_FAILURE);
        }
        printf("%s found: %s\n", kinds[i % 4], e.note);
        write_file(&f, f.bytes, f.len);
        free(f.bytes);
    }
}

static void remove_log(const struct log *log)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", log->dir);
    if (system(command) != 0) /* NOLINT: our own folder of mkdtemp */
        fprintf(stderr, "bench_audit: %s stays behind\n", log->dir);
}

int main(int argc, char **argv)
{
    const long long records = argc > 1 ? atoll(argv[1]) : 1000000;
    const int times = argc > 2 ? atoi(argv[2]) : 4;
    struct log log = {.dir = "/tmp/posward-bench-audit.XXXXXX"};
    struct audit_summary s;
    struct err e = {0};
    if (records < 10000 || records > RECORDS_MOST || times < 0) {
        fputs("usage: bench_audit [RECORDS [TAMPERINGS]]; 10,000 records at least\n", stderr);
        return 2;
    }
    srandom((unsigned)clock_wall_ms());
    if (mkdtemp(log.dir) == NULL)
        abort();
    make_key(&log);
    const int64_t start_ms = clock_monotonic_ms();
    write_log(&log, (uint64_t)records);
    const int64_t written_ms = clock_monotonic_ms();
    if (verify(&log, &s, &e) != ERR_OK)
        fail("verify", &e);
    const int64_t verified_ms = clock_monotonic_ms();
    const double wrote_s = (double)(written_ms - start_ms) / 1000,
                 verified_s = (double)(verified_ms - written_ms) / 1000;
    printf("%" PRIu64 " records, %" PRIu64 " files, %" PRIu64
           " checkpoints: written in %.1f s (%.0f/s), verified in "
           "%.1f s (%.0f/s)\n",
           s.records, s.files, s.checkpoints, wrote_s, (double)s.records / wrote_s, verified_s,
           (double)s.records / verified_s);
    tamper_and_find(&log, (unsigned)times);
    ecc_scalar_clear(&log.secret);
    remove_log(&log);
    return EXIT_SUCCESS;
}
