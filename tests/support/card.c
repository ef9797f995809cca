#include "tests/support/card.h"

#include "apdu/psam.h"
#include "apdu/secure.h"
#include "base/clock.h"
#include "base/hex.h"
#include "card-emu/crypto/mac.h"
#include "tests/support/suite.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 10000

extern char **environ;

static const char component_a[] = "0123456789ABCDEFFEDCBA9876543210";
static const char component_b[] = "00112233445566778899AABBCCDDEEFF";
static const char component_aes[] = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";

static struct err e;

static void write_private(const struct test_card *c, const char *name, const char *text, char out_path[128])
{
    snprintf(out_path, 128, "%s/%s", c->folder, name);
    const int fd = open(out_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void program_path(const char *program, char out_path[512])
{
    const char *build = getenv("POSWARD_BUILD");
    ck_assert_msg(build != NULL, "POSWARD_BUILD is not set: run this test with ctest");
    snprintf(out_path, 512, "%s/bin/%s", build, program);
}

pid_t test_start(const char *program, const char *const *argv, const char *output_path)
{
    char path[512];
    pid_t pid = 0;
    program_path(program, path);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output_path, O_WRONLY | O_CREAT | O_TRUNC,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    ck_assert_msg(posix_spawn(&pid, path, &actions, NULL, (char *const *)(uintptr_t)argv, environ) == 0,
                  "cannot start %s", path);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static size_t read_file(const char *path, void *out, size_t capacity)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    const size_t got = fread(out, 1, capacity, file);
    fclose(file);
    return got;
}

int test_run(const char *program, const char *const *argv, char *out_text, size_t capacity)
{
    char output[64];
    int status = 0;
    suite_scratch_name("run", output, sizeof output);
    const int fd = mkstemp(output);
    ck_assert_int_ge(fd, 0);
    close(fd);
    const pid_t pid = test_start(program, argv, output);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (out_text != NULL)
        out_text[read_file(output, out_text, capacity - 1)] = '\0';
    unlink(output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void compute_control_keys(struct test_card *c)
{
    uint8_t a[16], b[16], aes[32], bcd[EMU_PSAM_BCD_BYTES];
    AUTO(emu_key) master = {0};
    ck_assert_int_eq(hex_decode(component_a, 32, a, &e), ERR_OK);
    ck_assert_int_eq(hex_decode(component_b, 32, b, &e), ERR_OK);
    ck_assert_int_eq(hex_decode(component_aes, 64, aes, &e), ERR_OK);
    for (size_t i = 0; i < sizeof a; i++)
        a[i] ^= b[i];
    ck_assert_int_eq(emu_psam_bcd(CARD_PSAM_NUMBER, bcd, &e), ERR_OK);
    ck_assert_int_eq(emu_key_init(&master, EMU_TDES, a, sizeof a, &e), ERR_OK);
    ck_assert_int_eq(emu_diversify_tdes(&master, bcd + 2, &c->control_tdes, &e), ERR_OK);
    ck_assert_int_eq(emu_key_init(&master, EMU_AES_256, aes, sizeof aes, &e), ERR_OK);
    ck_assert_int_eq(emu_diversify_aes(&master, EMU_DOMAIN_CONTROL, EMU_AES_128, bcd, &c->control_aes, &e),
                     ERR_OK);
}

void test_card_make(struct test_card *c)
{
    *c = (struct test_card){0};
    char one[128], two[128], three[128];
    suite_scratch_name("card", c->folder, sizeof c->folder);
    ck_assert_ptr_nonnull(mkdtemp(c->folder));
    write_private(c, "tdes.1", component_a, one);
    write_private(c, "tdes.2", component_b, two);
    write_private(c, "aes.1", component_aes, three);
    snprintf(c->file, sizeof c->file, "%s/card", c->folder);
    const char *const argv[] = {
        "posward-psam",   "new", "--card", c->file,         "--psam-number", CARD_PSAM_NUMBER,
        "--control-tdes", one,   two,      "--control-aes", three,           NULL};
    char text[512];
    ck_assert_msg(test_run("posward-psam", argv, text, sizeof text) == 0, "%s", text);
    compute_control_keys(c);
}

void test_card_serve(struct test_card *c)
{
    char log[128], text[4096];
    snprintf(log, sizeof log, "%s/log", c->folder);
    const char *const argv[] = {"posward-psam", "serve", "--card", c->file, "--listen", "127.0.0.1:0", NULL};
    c->pid = test_start("posward-psam", argv, log);
    const int64_t end_ms = clock_monotonic_ms() + START_MS;
    const char *port = NULL;
    while (port == NULL || strchr(port, '\n') == NULL) {
        text[read_file(log, text, sizeof text - 1)] = '\0';
        ck_assert_msg(clock_monotonic_ms() < end_ms && waitpid(c->pid, NULL, WNOHANG) == 0, "no card: %s",
                      text);
        port = strstr(text, " port=");
        clock_sleep_ms(5);
    }
    snprintf(c->address, sizeof c->address, "127.0.0.1:%d", atoi(port + strlen(" port=")));
}

void test_card_kill(struct test_card *c)
{
    kill(c->pid, SIGKILL);
    ck_assert_int_eq(waitpid(c->pid, NULL, 0), c->pid);
    c->pid = 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void test_card_drop(struct test_card *c)
{
    if (c->pid != 0)
        test_card_kill(c);
    nftw(c->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

size_t test_card_read(const struct test_card *c, uint8_t *out_bytes, size_t capacity)
{
    return read_file(c->file, out_bytes, capacity);
}

static void challenge(struct card_link *link, uint8_t len, uint8_t *out)
{
    const struct apdu_command ask = psam_get_challenge(len);
    struct apdu_response response;
    ck_assert_msg(card_transmit(link, &ask, &response, &e) == ERR_OK, "%s", e.note);
    ck_assert_uint_eq(response.data_len, len);
    memcpy(out, response.data, len);
}

static uint16_t send(struct card_link *link, const struct apdu_command *command)
{
    struct apdu_response response;
    ck_assert_msg(card_exchange(link, command, &response, &e) == ERR_OK, "%s", e.note);
    return response.sw;
}

uint16_t test_card_write_pboc(const struct test_card *c, struct card_link *link, uint8_t version,
                              const struct emu_key *tmk, bool damage)
{
    uint8_t record[19] = {PSAM_TMK, version, (uint8_t)tmk->algorithm}, plain[APDU_SM_PADDED_MAX],
            input[APDU_SM_PADDED_MAX];
    uint8_t nonce[4], iv[8], mac[8];
    memcpy(record + 3, tmk->bytes, 16);
    const size_t plain_len = apdu_sm_plain(record, sizeof record, plain);
    ck_assert_uint_eq(plain_len, 24);
    ck_assert_int_eq(emu_encrypt_ecb(&c->control_tdes, plain, plain_len, plain, &e), ERR_OK);
    challenge(link, sizeof nonce, nonce);
    apdu_sm_iv(nonce, iv);
    struct apdu_command command = psam_write_key_pboc(plain, (const uint8_t[4]){0});
    const size_t len = apdu_sm_mac_input(&command, 24, 4, input);
    ck_assert_int_eq(emu_mac_pboc(&c->control_tdes, iv, input, len, mac, &e), ERR_OK);
    mac[3] ^= damage ? 1 : 0;
    command = psam_write_key_pboc(plain, mac);
    return send(link, &command);
}

uint16_t test_card_write_aes(const struct test_card *c, struct card_link *link, uint8_t version,
                             const struct emu_key *tmk, bool damage)
{
    const struct psam_key_header header = {PSAM_TMK, version, (uint8_t)tmk->algorithm};
    return test_card_write_header(c, link, &header, tmk, damage);
}

uint16_t test_card_write_header(const struct test_card *c, struct card_link *link,
                                const struct psam_key_header *header, const struct emu_key *tmk, bool damage)
{
    uint8_t wrapped[40], input[8 + APDU_SM_PADDED_MAX], mac[16] = {0};
    struct apdu_command command;
    ck_assert_int_eq(emu_wrap(&c->control_aes, tmk->bytes, tmk->len, wrapped, &e), ERR_OK);
    challenge(link, 8, input);
    ck_assert_int_eq(psam_write_key_aes(header, wrapped, tmk->len + 8, mac, &command, &e), ERR_OK);
    const size_t len = 8 + apdu_sm_mac_input(&command, command.lc - 8U, 8, input + 8);
    ck_assert_int_eq(emu_cmac(&c->control_aes, input, len, mac, &e), ERR_OK);
    mac[7] ^= damage ? 1 : 0;
    ck_assert_int_eq(psam_write_key_aes(header, wrapped, tmk->len + 8, mac, &command, &e), ERR_OK);
    return send(link, &command);
}

size_t test_card_wrap(const struct emu_key *tmk, const struct emu_key *key, uint8_t out_cipher[24])
{
    if (emu_is_aes(key->algorithm)) {
        ck_assert_int_eq(emu_wrap(tmk, key->bytes, key->len, out_cipher, &e), ERR_OK);
        return key->len + 8;
    }
    ck_assert_int_eq(emu_encrypt_ecb(tmk, key->bytes, key->len, out_cipher, &e), ERR_OK);
    return key->len;
}
