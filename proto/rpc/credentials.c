#include "rpc/credentials.h"

#include "rpc/pem.h"

#include <pthread.h>
#include <stdlib.h>

struct rpc_certificates {
    pthread_mutex_t lock;
    struct rpc_tls tls;
    struct pem_watch watch;
    struct pem next; /* for the next handshake; empty when gRPC has it */
    bool given;      /* gRPC has a first certificate */
    struct rpc_tls_state state;
};

/* What changed is taken for the next handshake; a file that is broken or half written keeps what is in use.
 * Lock held. */
static void look(struct rpc_certificates *c)
{
    AUTO(pem) pem = {0};
    struct err e;
    if (!pem_changed(&c->watch, &c->tls))
        return;
    if (rpc_tls_check(&c->tls, "", &e) != ERR_OK || pem_read(&pem, &c->tls, &e) != ERR_OK) {
        c->state.kept++;
        c->state.broken = true;
        return;
    }
    pem_drop(&c->next);
    c->next = pem;
    pem = (struct pem){0};
    c->state.taken++;
    c->state.broken = false;
    (void)rpc_tls_expiry(c->tls.cert_path, &c->state.expires_s);
}

/* Runs at each handshake. */
static grpc_ssl_certificate_config_reload_status fetch(void *context,
                                                       grpc_ssl_server_certificate_config **config)
{
    struct rpc_certificates *c = context;
    pthread_mutex_lock(&c->lock);
    look(c);
    grpc_ssl_certificate_config_reload_status status =
        c->given ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    if (c->next.cert != NULL) {
        const grpc_ssl_pem_key_cert_pair pair = {c->next.key, c->next.cert};
        /* Core wants roots even where no client certificate is asked for; then they decide nothing. */
        *config = grpc_ssl_server_certificate_config_create(c->next.ca != NULL ? c->next.ca : c->next.cert,
                                                            &pair, 1);
        pem_drop(&c->next);
        c->given = true;
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
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
    look(certificates); /* who asks hears of a renewal before the next handshake */
    state = certificates->state;
    pthread_mutex_unlock(&certificates->lock);
    return state;
}

void rpc_certificates_free(struct rpc_certificates *certificates)
{
    if (certificates == NULL)
        return;
    pthread_mutex_destroy(&certificates->lock);
    pem_drop(&certificates->next);
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
