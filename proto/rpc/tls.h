/* Transport security of a server or a channel, from PEM files. */
#ifndef POSWARD_RPC_TLS_H
#define POSWARD_RPC_TLS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Paths live as long as the object made from them. All NULL and `insecure` true: plain HTTP/2, loopback only.
 */
struct rpc_tls {
    const char *ca_path;   /* peers must chain to this; NULL on a server: TLS without client certificates */
    const char *cert_path; /* own leaf, then intermediates */
    const char *key_path;  /* own private key */
    const char
        *server_name; /* client: the name to check in the server's certificate; NULL: from the target */
    bool insecure;    /* explicit consent to plain text; refused off loopback */
};

/* Who called, as proven by the transport. Strings are the call's own; NULL when absent. */
struct rpc_peer {
    const char *address; /* "ipv4:127.0.0.1:40000" */
    const char
        *identity; /* SPIFFE URI SAN, else the common name; NULL without a verified client certificate */
};

/* Whether a peer that proved this identity may connect at all; NULL: its certificate has none. Any thread. */
typedef bool (*rpc_may_connect_fn)(void *context, const char *identity);

/* ERR_INPUT when `tls` and `address` do not go together: insecure off loopback, half a key pair, a missing
 * file. */
enum err_code rpc_tls_check(const struct rpc_tls *tls, const char *address, struct err *e) MUST_CHECK;
/* The same for a server: one that listens off loopback must have all three files, so that every caller proves
 * who it is. */
enum err_code rpc_tls_check_server(const struct rpc_tls *tls, const char *listen, struct err *e) MUST_CHECK;

/* A server's certificate in use. */
struct rpc_tls_state {
    bool secure;       /* false: plain text, and nothing else is set */
    int64_t expires_s; /* end of the leaf's validity, in seconds since 1970; 0: there was none so far */
    uint64_t taken;    /* file changes that became what handshakes use, the first one included */
    uint64_t kept;     /* file changes that were broken: the certificate in use stayed */
    uint64_t refused;  /* handshakes of peers with a valid certificate that may not connect */
    bool broken;       /* the files as last seen are not those in use */
};

#endif
