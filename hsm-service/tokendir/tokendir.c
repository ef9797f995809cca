#include "hsm-service/tokendir/tokendir.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/secret.h"
#include "p11/module/lock.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES    1024
#define CONFIG_BYTES  65536
#define CONFIG_GIVEN  "/etc/softhsm/softhsm2.conf"
#define TOKEN_OBJECT  "token.object"
#define OBJECT_SUFFIX ".object"
#define FILE_MODE     0600
#define FOLDER_MODE   0700

struct bytes {
    uint8_t *data;
    size_t len;
};
static void bytes_drop(struct bytes *b)
{
    free(b->data);
}

static enum err_code join(char out_path[PATH_BYTES], const char *folder, const char *name, struct err *e)
{
    if ((size_t)snprintf(out_path, PATH_BYTES, "%s/%s", folder, name) >= PATH_BYTES)
        return err_set(e, ERR_INPUT, "the path %.60s... is too long", folder);
    return ERR_OK;
}

/* ---- Which folder ---- */

/* "directories.tokendir = PATH" of SoftHSM's configuration. */
static bool read_setting(char *text, char out_path[PATH_BYTES])
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char value[PATH_BYTES];
        if (sscanf(line, " directories.tokendir = %1023s", value) == 1) {
            memcpy(out_path, value, sizeof value);
            return true;
        }
    }
    return false;
}

static enum err_code find_folder(const struct tokendir *t, char out_path[PATH_BYTES], struct err *e)
{
    AUTO(bytes) text = {0};
    if (t->directory != NULL && t->directory[0] != '\0') {
        if ((size_t)snprintf(out_path, PATH_BYTES, "%s", t->directory) >= PATH_BYTES)
            return err_set(e, ERR_INPUT, "token.directory is too long");
        return ERR_OK;
    }
    const char *const configured = getenv("SOFTHSM2_CONF");
    const char *const path = configured != NULL ? configured : CONFIG_GIVEN;
    TRY(file_read(path, CONFIG_BYTES, &text.data, &text.len, e));
    if (!read_setting((char *)text.data, out_path))
        return err_set(e, ERR_INPUT, "%s has no directories.tokendir; set token.directory", path);
    return ERR_OK;
}

/* ---- Names in a folder ---- */

typedef enum err_code (*each_fn)(void *context, const char *name, struct err *e);

/* Every name but those that start with a dot; a folder that is not there has none. */
static enum err_code each_name(const char *folder, each_fn each, void *context, struct err *e)
{
    DIR *const dir = opendir(folder);
    if (dir == NULL && errno == ENOENT)
        return ERR_OK;
    if (dir == NULL)
        return err_errno(e, "cannot read the folder %s", folder);
    enum err_code code = ERR_OK;
    for (const struct dirent *entry; code == ERR_OK && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            code = each(context, entry->d_name, e);
    closedir(dir);
    return code;
}

static bool is_object(const char *name)
{
    const size_t len = strlen(name), suffix = sizeof OBJECT_SUFFIX - 1;
    return len > suffix && strcmp(name + len - suffix, OBJECT_SUFFIX) == 0;
}

static enum err_code read_object(const char *path, struct bytes *out_bytes, struct err *e)
{
    return file_read(path, TOKENDIR_OBJECT_BYTES, &out_bytes->data, &out_bytes->len, e);
}

static enum err_code make_folder(const char *path, struct err *e)
{
    if (mkdir(path, FOLDER_MODE) != 0 && errno != EEXIST)
        return err_errno(e, "cannot make the folder %s", path);
    return ERR_OK;
}

/* One token's folder and its backup. */
struct pair {
    const struct tokendir *t;
    char folder[PATH_BYTES], backup[PATH_BYTES];
    char *notice;
};

/* ---- Keep ---- */

static bool same(const struct bytes *a, const struct bytes *b)
{
    return a->len == b->len && secret_equal(a->data, b->data, a->len);
}

static enum err_code generation_path(const char *backup, unsigned generation, char out_path[PATH_BYTES],
                                     struct err *e)
{
    char name[32];
    snprintf(name, sizeof name, generation == 0 ? TOKEN_OBJECT : TOKEN_OBJECT ".%u", generation);
    return join(out_path, backup, name, e);
}

static enum err_code shift_generations(const char *backup, struct err *e)
{
    for (unsigned older = TOKENDIR_GENERATIONS; older > 0; older--) {
        char from[PATH_BYTES], to[PATH_BYTES];
        TRY(generation_path(backup, older - 1, from, e));
        TRY(generation_path(backup, older, to, e));
        if (rename(from, to) != 0 && errno != ENOENT)
            return err_errno(e, "cannot write %s", to);
    }
    return ERR_OK;
}

static enum err_code keep_token_object(const char *backup, const struct bytes *now, struct err *e)
{
    char path[PATH_BYTES];
    AUTO(bytes) kept = {0};
    struct err none = {0};
    TRY(generation_path(backup, 0, path, e));
    if (read_object(path, &kept, &none) == ERR_OK && same(&kept, now))
        return ERR_OK;
    TRY(shift_generations(backup, e));
    return file_replace(path, now->data, now->len, FILE_MODE, e);
}

static enum err_code keep_object(void *context, const char *name, struct err *e)
{
    const struct pair *const p = context;
    char from[PATH_BYTES], to[PATH_BYTES];
    AUTO(bytes) now = {0};
    AUTO(bytes) kept = {0};
    struct err none = {0};
    if (!is_object(name) || strcmp(name, TOKEN_OBJECT) == 0)
        return ERR_OK;
    TRY(join(from, p->folder, name, e));
    TRY(join(to, p->backup, name, e));
    if (read_object(from, &now, &none) != ERR_OK || !tokendir_object_is_whole(now.data, now.len))
        return ERR_OK; /* went meanwhile, or is the rest of a broken attempt: never over a good one */
    if (read_object(to, &kept, &none) == ERR_OK && same(&kept, &now))
        return ERR_OK;
    return file_replace(to, now.data, now.len, FILE_MODE, e);
}

/* What was destroyed in the token is destroyed here. */
static enum err_code drop_object(void *context, const char *name, struct err *e)
{
    const struct pair *const p = context;
    char here[PATH_BYTES], there[PATH_BYTES];
    if (!is_object(name) || strcmp(name, TOKEN_OBJECT) == 0)
        return ERR_OK;
    TRY(join(there, p->folder, name, e));
    TRY(join(here, p->backup, name, e));
    if (access(there, F_OK) == 0 || errno != ENOENT)
        return ERR_OK;
    return unlink(here) == 0 || errno == ENOENT ? ERR_OK : err_errno(e, "cannot remove %s", here);
}

static enum err_code keep_token(void *context, const char *name, struct err *e)
{
    struct pair *const root = context;
    struct pair p = {.t = root->t};
    char path[PATH_BYTES];
    AUTO(bytes) token = {0};
    struct err none = {0};
    TRY(join(p.folder, root->folder, name, e));
    TRY(join(p.backup, root->backup, name, e));
    TRY(join(path, p.folder, TOKEN_OBJECT, e));
    if (read_object(path, &token, &none) != ERR_OK || !tokendir_is_token(token.data, token.len, p.t->label))
        return ERR_OK;
    TRY(make_folder(p.backup, e));
    TRY(keep_token_object(p.backup, &token, e));
    TRY(each_name(p.folder, keep_object, &p, e));
    TRY(each_name(p.backup, drop_object, &p, e));
    return file_sync_folder(p.backup, e);
}

static bool is_wanted(const struct tokendir *t)
{
    return t->backup != NULL && t->backup[0] != '\0';
}

enum err_code tokendir_keep(const struct tokendir *t, struct err *e)
{
    struct pair root = {.t = t};
    AUTO(tok_lock) lock = {0};
    if (!is_wanted(t))
        return ERR_OK;
    if ((size_t)snprintf(root.backup, sizeof root.backup, "%s", t->backup) >= sizeof root.backup)
        return err_set(e, ERR_INPUT, "token.backup_dir is too long");
    TRY(find_folder(t, root.folder, e));
    TRY(tok_lock_take(t->lock_path, &lock, e));
    TRY(make_folder(root.backup, e));
    return each_name(root.folder, keep_token, &root, e);
}

/* ---- Mend ---- */

/* The newest generation that is sound. */
static enum err_code find_sound(const struct pair *p, struct bytes *out_bytes, char out_path[PATH_BYTES],
                                struct err *e)
{
    struct err none = {0};
    for (unsigned generation = 0; generation <= TOKENDIR_GENERATIONS; generation++) {
        AUTO(bytes) kept = {0};
        TRY(generation_path(p->backup, generation, out_path, e));
        if (read_object(out_path, &kept, &none) != ERR_OK ||
            !tokendir_is_token(kept.data, kept.len, p->t->label))
            continue;
        *out_bytes = kept;
        kept = (struct bytes){0};
        return ERR_OK;
    }
    return err_set(e, ERR_CHECK,
                   "%.80s/" TOKEN_OBJECT
                   " is damaged and no generation in its backup is sound; restore the token",
                   p->folder);
}

static void tell(const struct pair *p, size_t was_len, const char *from)
{
    struct stat st;
    char when[CLOCK_TEXT_BYTES] = "unknown";
    if (stat(from, &st) == 0)
        clock_text((int64_t)st.st_mtime * 1000, when);
    snprintf(p->notice, TOKENDIR_NOTICE_BYTES,
             "the token's " TOKEN_OBJECT " was damaged (%zu bytes) and was restored from the backup of %s",
             was_len, when);
}

static enum err_code mend_token(void *context, const char *name, struct err *e)
{
    struct pair *const root = context;
    struct pair p = {.t = root->t, .notice = root->notice};
    char path[PATH_BYTES], from[PATH_BYTES];
    AUTO(bytes) now = {0};
    AUTO(bytes) sound = {0};
    struct err none = {0};
    TRY(join(p.folder, root->folder, name, e));
    TRY(join(p.backup, root->backup, name, e));
    TRY(join(path, p.folder, TOKEN_OBJECT, e));
    if (access(p.folder, F_OK) != 0) /* removed as a whole: by a person, who decides */
        return ERR_OK;
    const enum err_code code = read_object(path, &now, &none);
    if (code == ERR_IO)
        return err_set(e, ERR_IO, "%s", none.note);
    if (code == ERR_OK && tokendir_is_token(now.data, now.len, p.t->label))
        return ERR_OK;
    TRY(find_sound(&p, &sound, from, e));
    TRY(file_replace(path, sound.data, sound.len, FILE_MODE, e));
    tell(&p, now.len, from);
    return ERR_OK;
}

enum err_code tokendir_mend(const struct tokendir *t, char out_notice[TOKENDIR_NOTICE_BYTES], struct err *e)
{
    struct pair root = {.t = t, .notice = out_notice};
    AUTO(tok_lock) lock = {0};
    out_notice[0] = '\0';
    if (!is_wanted(t))
        return ERR_OK;
    if ((size_t)snprintf(root.backup, sizeof root.backup, "%s", t->backup) >= sizeof root.backup)
        return err_set(e, ERR_INPUT, "token.backup_dir is too long");
    TRY(find_folder(t, root.folder, e));
    TRY(tok_lock_take(t->lock_path, &lock, e));
    return each_name(root.backup, mend_token, &root, e);
}
