#include "tests/support/null_token.h"

#include "p11/flow/way.h"
#include "p11/keys/keys.h"
#include "p11/module/state.h"
#include "p11/tok.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/posward-null-XXXXXX", pin_path[64];

static void must(bool right, const char *what)
{
    if (right)
        return;
    fprintf(stderr, "null token: %s\n", what);
    exit(EXIT_FAILURE);
}

static void write_pin(void)
{
    memcpy(directory + sizeof directory - 7, "XXXXXX", 6);
    must(mkdtemp(directory) != NULL, "no directory");
    snprintf(pin_path, sizeof pin_path, "%s/pin", directory);
    FILE *const file = fopen(pin_path, "we");
    must(file != NULL && fputs("0000\n", file) >= 0 && fclose(file) == 0, "no PIN file");
    must(chmod(pin_path, 0400) == 0, "no PIN file");
}

/* The probe would find its answers wrong. */
static void choose_ways(struct tok *tok)
{
    static const struct {
        enum tok_flow flow;
        const char *way;
    } named[] = {
        {TOK_FLOW_WORKING_KEY_TDES, "chain"}, {TOK_FLOW_PIN_TDES, "block"},
        {TOK_FLOW_PIN_AES, "block"},          {TOK_FLOW_PIN_FORMAT, "block"},
        {TOK_FLOW_CARD_PBOC, "concat"},       {TOK_FLOW_EXPORT_AES_KW, "wrap"},
    };
    tok->ways = calloc(1, sizeof *tok->ways + TOK_FLOW_COUNT * sizeof tok->ways->rows[0]);
    must(tok->ways != NULL, "no memory");
    tok->ways->count = TOK_FLOW_COUNT;
    for (int flow = 0; flow < TOK_FLOW_COUNT; flow++)
        tok->ways->rows[flow] = (struct tok_way){.flow = (enum tok_flow)flow,
                                                 .flow_name = "flow",
                                                 .way_name = "way",
                                                 .grade = TOK_PROCESS_MEMORY,
                                                 .works = true,
                                                 .chosen = true};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        tok->ways->rows[named[i].flow].way_name = named[i].way;
}

struct tok *null_token_open(size_t session_count)
{
    struct tok *tok = NULL;
    struct err e = {0};
    write_pin();
    const struct tok_options options = {.module_path = NULL_TOKEN_MODULE,
                                        .token_label = "null",
                                        .pin_path = pin_path,
                                        .session_count = session_count};
    must(tok_open(&options, &tok, &e) == ERR_OK, e.note);
    choose_ways(tok);
    must(tok_keys_load(tok, &e) == ERR_OK, e.note);
    return tok;
}

void null_token_close(struct tok *tok)
{
    tok_close(tok);
    (void)unlink(pin_path);
    (void)rmdir(directory);
}

struct null_token_control *null_token_control(void)
{
    void *const module = dlopen(NULL_TOKEN_MODULE, RTLD_NOW | RTLD_LOCAL);
    must(module != NULL, "not loaded");
    struct null_token_control *const control = dlsym(module, "null_token");
    must(control != NULL, "exports no control");
    return control;
}
