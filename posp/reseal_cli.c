#include "posp/reseal_cli.h"

#include "posward/posp/v1/posp.pb-c.h"
#include "run/cli_progress.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define RATE_MOST 100000
#define WAIT_MS   60000 /* one wait of a loop that the server ends */

typedef Posward__Posp__V1__ResealProgress Progress;

const struct cli_option reseal_cli_options[] = {
    {"rate", "NUMBER", "Blobs a second, at most; left out: what hsm.reseal_per_second says."},
    {0},
};

static void print_help(void)
{
    printf("Usage: posward posp reseal [--rate NUMBER]\n"
           "Moves every key blob in the front end's store to the current storage and tag keys, after a\n"
           "rotation. Ctrl-C stops it; what was moved stays moved, and another run skips it.\n\n");
    for (const struct cli_option *o = reseal_cli_options; o->name != NULL; o++)
        printf("  --%s %-25s %s\n", o->name, o->value, o->help);
    printf("  %-32s %s\n", "--json", "print JSON");
}

static enum err_code read_rate(const char *text, uint32_t *out_rate, struct err *e)
{
    char *end = NULL;
    errno = 0;
    const unsigned long rate = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || rate < 1 || rate > RATE_MOST)
        return err_set(e, ERR_INPUT, "--rate must be 1 to %d blobs a second", RATE_MOST);
    *out_rate = (uint32_t)rate;
    return ERR_OK;
}

static enum err_code read_options(int argc, char **argv, uint32_t *out_rate, bool *out_help, struct err *e)
{
    static const struct option known[] = {
        {"help", no_argument, NULL, 'h'}, {"rate", required_argument, NULL, 'r'}, {0}};
    opterr = 0;
    optind = 1;
    for (int got; (got = getopt_long(argc + 1, argv - 1, ":h", known, NULL)) != -1;) {
        if (got == 'h')
            *out_help = true;
        else if (got == 'r')
            TRY(read_rate(optarg, out_rate, e));
        else
            return err_set(e, ERR_INPUT,
                           "'%.40s' is no option, or lacks its value; see posward posp reseal --help",
                           argv[optind - 2]);
    }
    if (optind < argc + 1)
        return err_set(e, ERR_INPUT, "'%.40s' is too much; see posward posp reseal --help", argv[optind - 1]);
    return ERR_OK;
}

/* Until the message that says done; it is the caller's to free. */
static enum err_code follow(struct rpc_stream *stream, struct cli_progress *bar, Progress **out_last,
                            struct err *e)
{
    for (;;) {
        ProtobufCMessage *message = NULL;
        const enum err_code code = rpc_stream_next(stream, WAIT_MS, &message, e);
        if (code == ERR_TIMEOUT)
            continue;
        TRY(code);
        if (message == NULL)
            return err_set(e, ERR_INTERNAL, "the front end ended the run without a result");
        Progress *const p = (Progress *)message;
        if (bar->what == NULL)
            cli_progress_start(bar, "re-sealing", "blobs", 1, p->total);
        cli_progress_step(bar, p->scanned);
        if (p->done) {
            *out_last = p;
            return ERR_OK;
        }
        protobuf_c_message_free_unpacked(message, NULL);
    }
}

/* What is left decides on whether the old key may go: the exit status says so too. */
static enum err_code judge(const Progress *last, struct err *e)
{
    if (last->failed > 0)
        return err_set(e, ERR_CHECK, "%" PRIu64 " blobs could not be re-sealed; the first: %.120s",
                       last->failed, last->first_failure);
    return ERR_OK;
}

static void advise(const Progress *last)
{
    if (last->must_sign_in > 0)
        fprintf(stderr,
                "This token cannot move working keys: %" PRIu64
                " blobs stay under the old key until their terminals sign in.\n",
                last->must_sign_in);
    else if (last->left > 0 && last->failed == 0)
        fprintf(stderr, "%" PRIu64 " blobs came or were sealed under an older key meanwhile; run it again.\n",
                last->left);
}

static enum err_code run(struct cli *cli, struct rpc_channel *channel, uint32_t rate, struct err *e)
{
    Posward__Posp__V1__ResealStoreRequest request = POSWARD__POSP__V1__RESEAL_STORE_REQUEST__INIT;
    const struct rpc_call_options options = {0};
    struct cli_progress bar = {0};
    struct rpc_stream *stream = NULL;
    Progress *last = NULL;
    request.rate = rate;
    TRY(rpc_stream_open(channel, &posward__posp__v1__operations__descriptor, "ResealStore", &request.base,
                        &options, &stream, e));
    enum err_code code = follow(stream, &bar, &last, e);
    cli_progress_done(&bar);
    rpc_stream_free(stream);
    TRY(code);
    code = cli_print(cli, &last->base, e);
    if (code == ERR_OK) {
        advise(last);
        code = judge(last, e);
    }
    posward__posp__v1__reseal_progress__free_unpacked(last, NULL);
    return code;
}

enum err_code reseal_cli(struct cli *cli, int argc, char **argv, struct err *e)
{
    uint32_t rate = 0;
    bool help = false;
    TRY(read_options(argc, argv, &rate, &help, e));
    if (help) {
        print_help();
        return ERR_OK;
    }
    struct rpc_channel *const channel = cli_channel(cli, "posp", e);
    return channel != NULL ? run(cli, channel, rate, e) : e->code;
}
