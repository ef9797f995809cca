#include "hsm-service/keeper/keeper.h"

#include "hsm-service/harden.h"
#include "hsm-service/ipc.h"
#include "hsm-service/keeper/keyset.h"
#include "hsm-service/keeper/options.h"
#include "hsm-service/keeper/serve.h"
#include "p11/keys/keys.h"
#include "p11/probe/probe.h"
#include "p11/tok.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define LINGER_S   15 /* without its front a keeper lives no longer, whatever call hangs */

static enum err_code say(enum ipc_kind kind, const struct err *failure, const char *text, struct err *e)
{
    size_t len = 0;
    const struct ipc_frame frame = {.kind = kind,
                                    .error = failure != NULL ? failure->code : ERR_OK,
                                    .native = failure != NULL ? failure->native : 0,
                                    .body = (const uint8_t *)text,
                                    .body_len = strlen(text)};
    const size_t capacity = IPC_HEADER_BYTES + frame.body_len;
    uint8_t *const packet = malloc(capacity);
    if (packet == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a packet");
    enum err_code code = ipc_encode(&frame, packet, capacity, &len, e);
    if (code == ERR_OK)
        code = ipc_send(IPC_KEEPER_FD, packet, len, true, e);
    free(packet);
    return code;
}

/* The service goes on without a backup, but not without telling. */
static enum err_code keep_token_folder(const struct tokendir *t, struct err *e)
{
    struct err keep_e = {0};
    char text[256];
    if (tokendir_keep(t, &keep_e) == ERR_OK)
        return ERR_OK;
    snprintf(text, sizeof text, "the token was not backed up: %s", keep_e.note);
    return say(IPC_NOTICE, NULL, text, e);
}

static enum err_code mend_token_folder(const struct tokendir *t, struct err *e)
{
    char notice[TOKENDIR_NOTICE_BYTES];
    TRY(tokendir_mend(t, notice, e));
    return notice[0] != '\0' ? say(IPC_NOTICE, NULL, notice, e) : ERR_OK;
}

/* What the front logs of a keeper that is up, and the keys by which it compares tokens. `keys` is the
 * keyset. */
static enum err_code say_ready(const struct tok *tok, const char *keys, struct err *e)
{
    struct tok_info info;
    char line[IPC_READY_LINE_BYTES], *body = NULL;
    size_t works = 0, inside = 0;
    const size_t ways = tok_ways_count(tok);
    for (size_t i = 0; i < ways; i++) {
        const struct tok_way *const way = tok_ways_get(tok, i);
        works += way->chosen;
        inside += way->chosen && way->grade == TOK_IN_TOKEN;
    }
    tok_info(tok, &info);
    snprintf(line, sizeof line, "%s, serial %s, %s: %zu keys, %zu flows, %zu of them in the token",
             info.label, info.serial, info.model, tok_keys_count(tok), works, inside);
    if (asprintf(&body, "%s\n%s", line, keys) < 0)
        return err_set(e, ERR_LIMIT, "no memory for the list of keys");
    const enum err_code code = say(IPC_READY, NULL, body, e);
    free(body);
    return code;
}

/* "diversify-tdes, blob and 3 more", as far as it fits. */
static void name_flows(const struct tok_way *const *missing, size_t count, char *out_text, size_t capacity)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t wanted = strlen(missing[i]->flow_name) + sizeof " and 99 more";
        if (at + wanted >= capacity) {
            snprintf(out_text + at, capacity - at, " and %zu more", count - i);
            return;
        }
        at +=
            (size_t)snprintf(out_text + at, capacity - at, "%s%s", i > 0 ? ", " : "", missing[i]->flow_name);
    }
}

/* One line a flow where the service does not start: there is no report to ask for. */
static enum err_code check_flows(const struct tok *tok, bool allowed, struct err *e)
{
    const struct tok_way *missing[TOK_FLOW_COUNT];
    char names[120] = "", text[256];
    const size_t count = tok_ways_missing(tok, missing, TOK_FLOW_COUNT);
    name_flows(missing, count, names, sizeof names);
    if (count == 0)
        return ERR_OK;
    if (allowed) {
        snprintf(text, sizeof text, "starts without flows that the token has no way for: %s", names);
        return say(IPC_NOTICE, NULL, text, e);
    }
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "the token has no way for %s: %s", missing[i]->flow_name,
                 missing[i]->why);
        TRY(say(IPC_NOTICE, NULL, text, e));
    }
    return err_set(e, ERR_UNSUPPORTED,
                   "the token has no way for %s; policy.flows_missing: allow starts without", names);
}

static enum err_code open_token(const struct keeper_options *options, struct tok **out_tok, char **out_keys,
                                struct err *e)
{
    struct tok *tok = NULL;
    TRY(harden_process(e));
    if (close_range(IPC_KEEPER_FD + 1, ~0U, 0) != 0)
        return err_errno(e, "cannot close descriptors");
    TRY(mend_token_folder(&options->tokendir, e));
    TRY(tok_open(&options->token, &tok, e));
    enum err_code code = tok_ways_probe(tok, options->exposure, e);
    if (code == ERR_OK)
        code = check_flows(tok, options->missing_allowed, e);
    if (code == ERR_OK)
        code = tok_keys_load(tok, e);
    if (code == ERR_OK)
        code = keep_token_folder(&options->tokendir, e);
    if (code == ERR_OK)
        code = keyset_text(tok, IPC_BODY_BYTES - IPC_READY_LINE_BYTES, out_keys, e);
    if (code != ERR_OK)
        tok_close(tok);
    else
        *out_tok = tok;
    return code;
}

/* A module that hangs, at the login above all, would keep a keeper whose front was killed: with the token's
 * lock in its hand, no successor could start. SIGALRM leaves calls that do not hang their time. */
static void *watch_front(void *context)
{
    (void)context;
    struct pollfd end = {.fd = IPC_KEEPER_FD}; /* a hang-up is told without being asked for */
    while (poll(&end, 1, -1) < 0 && errno == EINTR)
        continue;
    (void)alarm(LINGER_S);
    return NULL;
}

static enum err_code start_watch(struct err *e)
{
    pthread_t thread;
    const int failed = pthread_create(&thread, NULL, watch_front, NULL);
    if (failed != 0)
        return err_native(e, ERR_IO, failed, "cannot start a thread: %s", strerror(failed));
    pthread_detach(thread);
    return ERR_OK;
}

static int run(const struct keeper_options *options)
{
    struct err e = {0}, say_e = {0};
    struct tok *tok = NULL;
    char *keys = NULL;
    if (start_watch(&e) != ERR_OK || open_token(options, &tok, &keys, &e) != ERR_OK) {
        if (say(IPC_START_FAILED, &e, e.note, &say_e) != ERR_OK)
            log_failure(LOG_ERROR, "keeper could not start, nor say so", &e);
        return EXIT_FAILURE;
    }
    enum err_code code = say_ready(tok, keys, &e);
    free(keys);
    if (code == ERR_OK)
        code = serve_until_closed(tok, IPC_KEEPER_FD, options->token.session_count, &options->policy, &e);
    if (code != ERR_OK)
        log_failure(LOG_ERROR, "keeper ends", &e);
    tok_close(tok);
    return code == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int keeper_main(int argc, char **argv)
{
    struct err e = {0};
    struct keeper_options options;
    int type = 0;
    socklen_t len = sizeof type;
    if (keeper_options_read(argc, argv, &options, &e) != ERR_OK) {
        fprintf(stderr, "posward-keeper: %s\n", e.note);
        return EXIT_USAGE;
    }
    if (getsockopt(IPC_KEEPER_FD, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_SEQPACKET) {
        fprintf(stderr, "posward-keeper: posward-hsm starts keepers by itself\n");
        return EXIT_USAGE;
    }
    log_setup("posward-keeper", options.log_level, options.log_json);
    return run(&options);
}
