#include "rpc/credentials.h"

#include <errno.h>
#include <grpc/support/alloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PEM_MAX_BYTES ((size_t)256 * 1024) /* a chain and a bundle of authorities */
#define PEM_FILES     3

struct pem {
    char *ca, *cert, *key; /* file contents; NULL where the path is */
};

struct rpc_certificates {
    pthread_mutex_t lock;
    struct rpc_tls tls;
    struct stat seen[PEM_FILES];
    bool given; /* gRPC has a first certificate */
    struct rpc_tls_state state;
};

static void pem_drop(struct pem *pem)
{
    free(pem->ca);
    free(pem->cert);
    if (pem->key != NULL)
        explicit_bzero(pem->key, strlen(pem->key));
    free(pem->key);
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

static enum err_code pem_read(struct pem *pem, const struct rpc_tls *tls, struct err *e)
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

/* Look at the files; true when one changed since the last look. */
static bool files_changed(struct rpc_certificates *c)
{
    const char *const paths[PEM_FILES] = {c->tls.ca_path, c->tls.cert_path, c->tls.key_path};
    bool changed = false;
    for (int i = 0; i < PEM_FILES; i++) {
        struct stat now = {0}; /* and stays so for a file that is gone */
        if (paths[i] != NULL)
            (void)stat(paths[i], &now);
        changed = changed || !same_file(&now, &c->seen[i]);
        c->seen[i] = now;
    }
    return changed;
}

/* Runs at each handshake. A file that is broken or half written keeps the certificate in use. */
static grpc_ssl_certificate_config_reload_status fetch(void *context,
                                                       grpc_ssl_server_certificate_config **config)
{
    struct rpc_certificates *c = context;
    grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    pthread_mutex_lock(&c->lock);
    AUTO(pem) pem = {0};
    struct err e;
    const bool look = files_changed(c) || !c->given;
    if (look && rpc_tls_check(&c->tls, "", &e) == ERR_OK && pem_read(&pem, &c->tls, &e) == ERR_OK) {
        const grpc_ssl_pem_key_cert_pair pair = {pem.key, pem.cert};
        /* Core wants roots even where no client certificate is asked for; then they decide nothing. */
        *config = grpc_ssl_server_certificate_config_create(pem.ca != NULL ? pem.ca : pem.cert, &pair, 1);
        c->given = true;
        c->state.taken++;
        c->state.broken = false;
        (void)rpc_tls_expiry(c->tls.cert_path, &c->state.expires_s);
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    } else if (!c->given) {
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    } else if (look) {
        c->state.kept++;
        c->state.broken = true;
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

enum err_code rpc_server_credentials(const struct rpc_tls *tls, const char *address,
                                     struct rpc_certificates **out_certificates,
                                     grpc_server_credentials **out_credentials, struct err *e)
{
    TRY(rpc_tls_check_server(tls, address, e));
    if (tls->insecure) {
        *out_certificates = NULL;
        *out_credentials = grpc_insecure_server_credentials_create();
        return ERR_OK;
    }
    if (tls->cert_path == NULL)
        return err_set(e, ERR_INPUT, "a server needs tls.cert and tls.key");
    struct rpc_certificates *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    c->tls = *tls;
    c->state.secure = true;
    pthread_mutex_init(&c->lock, NULL);
    const grpc_ssl_client_certificate_request_type request =
        tls->ca_path != NULL ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                             : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    *out_credentials = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, fetch, c));
    *out_certificates = c;
    return ERR_OK;
}

struct rpc_tls_state rpc_certificates_state(struct rpc_certificates *certificates)
{
    struct rpc_tls_state state = {0};
    if (certificates == NULL)
        return state;
    pthread_mutex_lock(&certificates->lock);
    state = certificates->state;
    pthread_mutex_unlock(&certificates->lock);
    return state;
}

void rpc_certificates_free(struct rpc_certificates *certificates)
{
    if (certificates == NULL)
        return;
    pthread_mutex_destroy(&certificates->lock);
    free(certificates);
}

enum err_code rpc_channel_credentials(const struct rpc_tls *tls, const char *target,
                                      grpc_channel_credentials **out_credentials, struct err *e)
{
    TRY(rpc_tls_check(tls, target, e));
    if (tls->insecure) {
        *out_credentials = grpc_insecure_credentials_create();
        return ERR_OK;
    }
    if (tls->ca_path == NULL)
        return err_set(e, ERR_INPUT, "a client needs tls.ca to know its server by");
    AUTO(pem) pem = {0};
    TRY(pem_read(&pem, tls, e));
    grpc_ssl_pem_key_cert_pair pair = {pem.key, pem.cert};
    *out_credentials = grpc_ssl_credentials_create(pem.ca, tls->cert_path != NULL ? &pair : NULL, NULL, NULL);
    if (*out_credentials == NULL)
        return err_set(e, ERR_INPUT, "the certificates for %s are not usable", target);
    return ERR_OK;
}
