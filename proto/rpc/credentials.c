#include "rpc/credentials.h"

#include "rpc/pem.h"

#include <fcntl.h>
#include <grpc/support/string_util.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

/* Core looks at its files so often, which is the least it takes. */
#define REFRESH_SECONDS 1
#define PATH_BYTES      32

/* Core's TLS credentials verify peers in the handshake, but take certificates from files only, and a broken
 * file stops every handshake. So these files are ours, in memory, and hold what was checked. */
struct checked_file {
    int fd; /* -1: none */
    char path[PATH_BYTES];
};

struct rpc_certificates {
    pthread_mutex_t lock;
    struct rpc_tls tls;
    rpc_may_connect_fn may_connect;
    void *context;
    atomic_uint_fast64_t refused;
    struct checked_file ca, cert, key;
    struct pem_watch watch;
    time_t generation;
    struct rpc_tls_state state;
    grpc_tls_certificate_verifier_external verifier;
};

/* A whole file takes the place of the one before at once: core sees the one or the other. The times are a
 * count, for core tells by them that it read a certificate and a key of different changes. */
static enum err_code put_file(struct checked_file *file, const char *text, time_t generation, struct err *e)
{
    if (text == NULL)
        return ERR_OK;
    const size_t len = strlen(text);
    const struct timespec times[2] = {{.tv_sec = generation}, {.tv_sec = generation}};
    const int fd = memfd_create("posward-tls", MFD_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "make a file in memory for certificates");
    if (write(fd, text, len) != (ssize_t)len || futimens(fd, times) != 0 ||
        (file->fd >= 0 && dup3(fd, file->fd, O_CLOEXEC) < 0)) {
        close(fd);
        return err_errno(e, "write the certificates' file in memory");
    }
    if (file->fd >= 0) {
        close(fd);
        return ERR_OK;
    }
    file->fd = fd;
    snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", fd);
    return ERR_OK;
}

static enum err_code take(struct rpc_certificates *c, struct err *e)
{
    AUTO(pem) pem = {0};
    TRY(rpc_tls_check(&c->tls, "", e));
    TRY(pem_read(&pem, &c->tls, e));
    c->generation++;
    TRY(put_file(&c->ca, pem.ca, c->generation, e));
    TRY(put_file(&c->key, pem.key, c->generation, e));
    return put_file(&c->cert, pem.cert, c->generation, e);
}

/* A file that is broken or half written keeps what is in use. Lock held. */
static void look(struct rpc_certificates *c)
{
    struct err e = {0};
    if (!pem_changed(&c->watch, &c->tls))
        return;
    c->state.broken = take(c, &e) != ERR_OK;
    if (c->state.broken) {
        c->state.kept++;
        return;
    }
    c->state.taken++;
    (void)rpc_tls_expiry(c->tls.cert_path, &c->state.expires_s);
}

bool rpc_identity_is_spiffe(const char *text, size_t len)
{
    static const char scheme[] = "spiffe:";
    return len >= sizeof scheme - 1 && strncasecmp(text, scheme, sizeof scheme - 1) == 0;
}

/* The identity that calls on this connection will have, as accept.c finds it, or one that nobody has. */
static const char *identity_of(const grpc_tls_custom_verification_check_request *request)
{
    const char *const name = request->peer_info.common_name;
    const size_t uris = request->peer_info.san_names.uri_names_size;
    for (size_t i = 0; i < uris; i++) {
        const char *const uri = request->peer_info.san_names.uri_names[i];
        if (rpc_identity_is_spiffe(uri, strlen(uri)))
            return uris == 1 ? uri : NULL;
    }
    if (name == NULL || name[0] == '\0' || rpc_identity_is_spiffe(name, strlen(name)))
        return NULL;
    return name;
}

/* At the end of each handshake, after the chain was verified. */
static int verify(void *context, grpc_tls_custom_verification_check_request *request,
                  grpc_tls_on_custom_verification_check_done_cb done, void *done_context,
                  grpc_status_code *status, char **note)
{
    struct rpc_certificates *const c = context;
    (void)done;
    (void)done_context;
    if (c->may_connect(c->context, identity_of(request))) {
        *status = GRPC_STATUS_OK;
        return 1;
    }
    atomic_fetch_add(&c->refused, 1);
    *status = GRPC_STATUS_PERMISSION_DENIED;
    *note = gpr_strdup("this identity may not connect");
    return 1;
}

static void no_cancel(void *context, grpc_tls_custom_verification_check_request *request)
{
    (void)context;
    (void)request;
}

static void no_destruct(void *context)
{
    (void)context;
}

static grpc_server_credentials *make_credentials(struct rpc_certificates *c)
{
    const bool mutual = c->tls.ca_path != NULL;
    grpc_tls_credentials_options *const options = grpc_tls_credentials_options_create();
    grpc_tls_certificate_provider *const provider = grpc_tls_certificate_provider_file_watcher_create(
        c->key.path, c->cert.path, mutual ? c->ca.path : NULL, REFRESH_SECONDS);
    grpc_tls_credentials_options_set_certificate_provider(options, provider);
    grpc_tls_certificate_provider_release(provider);
    grpc_tls_credentials_options_watch_identity_key_cert_pairs(options);
    grpc_tls_credentials_options_set_cert_request_type(
        options, mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                        : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
    if (mutual)
        grpc_tls_credentials_options_watch_root_certs(options);
    if (mutual && c->may_connect != NULL) {
        c->verifier = (grpc_tls_certificate_verifier_external){
            .user_data = c, .verify = verify, .cancel = no_cancel, .destruct = no_destruct};
        grpc_tls_certificate_verifier *const verifier =
            grpc_tls_certificate_verifier_external_create(&c->verifier);
        grpc_tls_credentials_options_set_certificate_verifier(options, verifier);
        grpc_tls_certificate_verifier_release(verifier);
    }
    return grpc_tls_server_credentials_create(options);
}

enum err_code rpc_server_credentials(const struct rpc_tls *tls, const char *address,
                                     const struct rpc_connect_gate *gate,
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
    c->may_connect = gate->may_connect;
    c->context = gate->context;
    c->ca.fd = c->cert.fd = c->key.fd = -1;
    c->state.secure = true;
    pthread_mutex_init(&c->lock, NULL);
    (void)pem_changed(&c->watch, &c->tls);
    const enum err_code code = take(c, e);
    if (code != ERR_OK) {
        rpc_certificates_free(c);
        return code;
    }
    c->state.taken = 1;
    (void)rpc_tls_expiry(c->tls.cert_path, &c->state.expires_s);
    *out_credentials = make_credentials(c);
    *out_certificates = c;
    return ERR_OK;
}

struct rpc_tls_state rpc_certificates_state(struct rpc_certificates *certificates)
{
    struct rpc_tls_state state = {0};
    if (certificates == NULL)
        return state;
    pthread_mutex_lock(&certificates->lock);
    look(certificates);
    state = certificates->state;
    state.refused = atomic_load(&certificates->refused);
    pthread_mutex_unlock(&certificates->lock);
    return state;
}

static void drop_file(struct checked_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

void rpc_certificates_free(struct rpc_certificates *certificates)
{
    if (certificates == NULL)
        return;
    pthread_mutex_destroy(&certificates->lock);
    drop_file(&certificates->ca);
    drop_file(&certificates->cert);
    drop_file(&certificates->key);
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
