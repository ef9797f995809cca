#include "rpc/pem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEM_MAX_BYTES ((size_t)256 * 1024) /* a chain and a bundle of authorities */

void pem_drop(struct pem *pem)
{
    free(pem->ca);
    free(pem->cert);
    if (pem->key != NULL)
        explicit_bzero(pem->key, strlen(pem->key));
    free(pem->key);
    *pem = (struct pem){0};
}

static enum err_code read_file(const char *path, char **out_text, struct err *e)
{
    if (path == NULL)
        return ERR_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return err_errno(e, "open %s", path);
    char *text = calloc(1, PEM_MAX_BYTES + 1);
    const size_t len = text == NULL ? 0 : fread(text, 1, PEM_MAX_BYTES + 1, file);
    fclose(file);
    if (len == 0 || len > PEM_MAX_BYTES) {
        free(text);
        return err_set(e, ERR_INPUT, "%s is empty or over %zu bytes", path, PEM_MAX_BYTES);
    }
    *out_text = text;
    return ERR_OK;
}

enum err_code pem_read(struct pem *pem, const struct rpc_tls *tls, struct err *e)
{
    TRY(read_file(tls->ca_path, &pem->ca, e));
    TRY(read_file(tls->cert_path, &pem->cert, e));
    return read_file(tls->key_path, &pem->key, e);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

bool pem_changed(struct pem_watch *watch, const struct rpc_tls *tls)
{
    const char *const paths[PEM_FILES] = {tls->ca_path, tls->cert_path, tls->key_path};
    bool changed = false;
    for (int i = 0; i < PEM_FILES; i++) {
        struct stat now = {0}; /* and stays so for a file that is gone */
        if (paths[i] != NULL)
            (void)stat(paths[i], &now);
        changed = changed || !same_file(&now, &watch->seen[i]);
        watch->seen[i] = now;
    }
    return changed;
}
