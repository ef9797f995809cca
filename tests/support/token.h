/* A throw-away token for tests: a SoftHSM token or an NSS database in a directory of its own.
 *
 *   struct token_fixture fixture;
 *   token_make(&fixture, TOKEN_SOFTHSM);       before fork (unchecked fixture) or inside the test; loads no
 * module token_copy(&copy, &fixture);               a fresh copy, faster than making one
 *   tok_open(token_options(&fixture), ...);    inside the test process, after Check's fork
 *   token_remove(&fixture);
 *
 * A failure ends the process, which fails the test. */
#ifndef POSWARD_TESTS_SUPPORT_TOKEN_H
#define POSWARD_TESTS_SUPPORT_TOKEN_H

#include "p11/tok.h"

enum token_kind { TOKEN_SOFTHSM, TOKEN_NSS, TOKEN_KIND_COUNT };

#define TOKEN_PIN   "posward-test-1"
#define TOKEN_LABEL "posward-test"

struct token_fixture {
    enum token_kind kind;
    char dir[64];
    char pin_path[96], lock_path[96], init_string[192];
    struct tok_options options;
};

const char *token_kind_name(enum token_kind kind); /* "softhsm", "nss" */
void token_make(struct token_fixture *out_fixture, enum token_kind kind);
void token_copy(struct token_fixture *out_fixture, const struct token_fixture *from);
/* Options for tok_open; points into the fixture. Sets SOFTHSM2_CONF for this process. */
const struct tok_options *token_options(struct token_fixture *fixture);
void token_remove(struct token_fixture *fixture);

#endif
