/* Inside the files of `posward key PROPOSAL` only: key_options.c reads the command line, key_request.c makes
 * the message of it, key_propose.c sends it and shows the answer. */
#ifndef POSWARD_HSM_SERVICE_KEY_PROPOSE_INSIDE_H
#define POSWARD_HSM_SERVICE_KEY_PROPOSE_INSIDE_H

#include "hsm-service/key_propose.h"
#include "posward/hsm/v1/keys.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define WRAPPED_BYTES 4096 /* of a file with a wrapped key or a key block */
#define KEY_FORMATS   "rsa-oaep|aes-key-wrap|tdes-ecb|tr31-b|tr31-d"

/* ---- key_options.c ---- */

/* What stood on the command line; NULL: it did not. */
struct key_words {
    const char *role, *suite, *zone, *version, *reason, *kcv, *components, *format, *wrapped, *key_block,
        *under_suite, *under_version, *export_format, *exposure, *approvals, *expires, *terminal_minute,
        *terminal_hour, *account_minute, *account_hour, *id;
    bool pre_active, break_use, all, help;
};

struct key_command {
    const char *name, *about;
    const struct cli_option *options;
};

void key_command_help(const struct key_command *c);
enum err_code key_words_read(const struct key_command *c, int argc, char **argv, struct key_words *out_words,
                             struct err *e) MUST_CHECK;

/* ---- key_request.c ---- */

/* Everything that a proposal may be made of; what is not used stays as it was initialised. */
struct key_request {
    Posward__Hsm__V1__ProposeRequest message;
    Posward__Hsm__V1__KeyName key, under;
    Posward__Hsm__V1__CreateKey create;
    Posward__Hsm__V1__ExportTo export_to;
    Posward__Hsm__V1__RotateKey rotate;
    Posward__Hsm__V1__ImportKey import;
    Posward__Hsm__V1__ComponentSource components;
    Posward__Hsm__V1__WrappedSource wrapped;
    Posward__Hsm__V1__ActivateKey activate;
    Posward__Hsm__V1__DeactivateKey deactivate;
    Posward__Hsm__V1__DestroyKey destroy;
    Posward__Hsm__V1__PolicyChange change;
    Posward__Hsm__V1__Policy policy;
    uint8_t kcv[3];
    uint8_t *file;
    uint8_t bytes[WRAPPED_BYTES];
};
void key_request_init(struct key_request *r, const struct key_words *w);
void key_request_drop(struct key_request *r);

/* Each fills the request of one command; it borrows what `w` points to. */
typedef enum err_code (*key_fill_fn)(const struct key_words *w, struct key_request *r, struct err *e);
enum err_code key_fill_create(const struct key_words *w, struct key_request *r, struct err *e) MUST_CHECK;
enum err_code key_fill_rotate(const struct key_words *w, struct key_request *r, struct err *e) MUST_CHECK;
enum err_code key_fill_import(const struct key_words *w, struct key_request *r, struct err *e) MUST_CHECK;
enum err_code key_fill_activate(const struct key_words *w, struct key_request *r, struct err *e) MUST_CHECK;
enum err_code key_fill_deactivate(const struct key_words *w, struct key_request *r, struct err *e) MUST_CHECK;
enum err_code key_fill_destroy(const struct key_words *w, struct key_request *r, struct err *e) MUST_CHECK;
enum err_code key_fill_policy(const struct key_words *w, struct key_request *r, struct err *e) MUST_CHECK;

/* Which key, of --role, --suite, --zone and --version. */
enum err_code key_fill_name(const struct key_words *w, Posward__Hsm__V1__KeyName *out_name,
                            struct err *e) MUST_CHECK;
/* As protobuf-c's strings are, which no one changes; NULL: empty. */
char *key_text(const char *text);

#endif
