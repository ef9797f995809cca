/* gRPC credentials from struct rpc_tls. Private to rpc. */
#ifndef POSWARD_RPC_CREDENTIALS_H
#define POSWARD_RPC_CREDENTIALS_H

#include "rpc/tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

/* Certificates of a server; lives longer than the server. Files that changed are found when its state is
 * asked for, and are what handshakes use about a second later. */
struct rpc_certificates;

/* Asked in the handshake, after the peer's chain was verified; `may_connect` NULL: nobody is asked. */
struct rpc_connect_gate {
    rpc_may_connect_fn may_connect;
    void *context;
};

/* Whether a name claims to be a SPIFFE identity. */
bool rpc_identity_is_spiffe(const char *text, size_t len);

/* *out_certificates is NULL for an insecure server. Both calls check with rpc_tls_check first. */
enum err_code rpc_server_credentials(const struct rpc_tls *tls, const char *address,
                                     const struct rpc_connect_gate *gate,
                                     struct rpc_certificates **out_certificates,
                                     grpc_server_credentials **out_credentials, struct err *e) MUST_CHECK;
/* Zero for NULL. Any thread. */
struct rpc_tls_state rpc_certificates_state(struct rpc_certificates *certificates);
void rpc_certificates_free(struct rpc_certificates *certificates);

enum err_code rpc_channel_credentials(const struct rpc_tls *tls, const char *target,
                                      grpc_channel_credentials **out_credentials, struct err *e) MUST_CHECK;

/* tls.c: the end of the first certificate in a PEM file, in seconds since 1970; false when it has none. */
bool rpc_tls_expiry(const char *cert_path, int64_t *out_expires_s);

#endif
