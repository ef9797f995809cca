/* The folder of a SoftHSM token, kept a second time and mended.
 *
 * SoftHSM writes a token's token.object anew at each login, in place: a process that is killed meanwhile
 * leaves it empty, and the token with all its keys is gone. So the folder has a backup: token.object in
 * several generations, and the objects as they are - one that was destroyed goes from the backup too. Only a
 * damaged token.object is ever taken back from it; no key comes back. Other tokens keep themselves.
 * Any process, under the token's lock. */
#ifndef POSWARD_HSM_SERVICE_TOKENDIR_TOKENDIR_H
#define POSWARD_HSM_SERVICE_TOKENDIR_TOKENDIR_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKENDIR_GENERATIONS  3 /* of token.object besides the newest */
#define TOKENDIR_NOTICE_BYTES 200
#define TOKENDIR_OBJECT_BYTES 1048576 /* a larger object is none */

struct tokendir {
    const char *directory; /* SoftHSM's directories.tokendir; NULL: as its configuration says */
    const char *label;     /* of the token; others in the folder are left alone */
    const char *backup;    /* folder, made when it is missing; NULL or "": nothing is kept, nothing mended */
    const char *lock_path; /* the token's; NULL: none */
};

/* Before the token is opened: a token.object that is empty, cut or not there is taken from the backup. What
 * was done stands in out_notice, "" when there was nothing to do. ERR_CHECK: damaged, and no generation in
 * the backup is sound. */
enum err_code tokendir_mend(const struct tokendir *t, char out_notice[TOKENDIR_NOTICE_BYTES],
                            struct err *e) MUST_CHECK;
/* After the token was opened and its keys were loaded, and after each change of keys: keep what is sound. */
enum err_code tokendir_keep(const struct tokendir *t, struct err *e) MUST_CHECK;

/* object.c: the bytes of an object file are whole, by SoftHSM 2's format: a generation, then attributes of
 * type, kind and value to the last byte. */
bool tokendir_object_is_whole(const uint8_t *bytes, size_t len);
/* And they are the token.object of the token that is called `label` and has a user PIN. */
bool tokendir_is_token(const uint8_t *bytes, size_t len, const char *label);

#endif
