#include "rpc/credentials.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* OpenSSL has a type of this name, which nobody here needs. */
#define ERR_STATE openssl_err_state
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#undef ERR_STATE

/* Whether one "host:port", without a scheme, stays on this machine. */
static bool host_is_loopback(const char *address, size_t len)
{
    static const char *const names[] = {"localhost", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const size_t n = strlen(names[i]);
        if (len >= n && strncasecmp(address, names[i], n) == 0 && (len == n || address[n] == ':'))
            return true;
    }
    char host[INET_ADDRSTRLEN];
    struct in_addr number;
    const size_t host_len = strcspn(address, ":,");
    if (host_len >= sizeof host)
        return false;
    memcpy(host, address, host_len);
    host[host_len] = '\0';
    return inet_pton(AF_INET, host, &number) == 1 && ntohl(number.s_addr) >> 24 == IN_LOOPBACKNET;
}

static const char *skip_scheme(const char *address)
{
    static const char *const schemes[] = {"ipv4:", "ipv6:", "dns:///", "dns:"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strncmp(address, schemes[i], strlen(schemes[i])) == 0)
            return address + strlen(schemes[i]);
    return address;
}

static bool all_loopback(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        return true;
    const char *host = skip_scheme(address);
    for (;;) {
        const size_t len = strcspn(host, ",");
        if (!host_is_loopback(host, len))
            return false;
        if (host[len] == '\0')
            return true;
        host += len + 1;
    }
}

static enum err_code check_readable(const char *path, const char *what, struct err *e)
{
    if (path != NULL && access(path, R_OK) != 0)
        return err_set(e, ERR_INPUT, "%s file %s cannot be read: %s", what, path, strerror(errno));
    return ERR_OK;
}

static X509 *read_certificate(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    return certificate;
}

static EVP_PKEY *read_key(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, (void *)"");
    fclose(file);
    return key;
}

static enum err_code check_pair(const struct rpc_tls *tls, struct err *e)
{
    X509 *certificate = read_certificate(tls->cert_path);
    EVP_PKEY *key = read_key(tls->key_path);
    enum err_code code = ERR_OK;
    if (certificate == NULL)
        code = err_set(e, ERR_INPUT, "%s holds no PEM certificate", tls->cert_path);
    else if (key == NULL)
        code = err_set(e, ERR_INPUT, "%s holds no PEM private key without a passphrase", tls->key_path);
    else if (X509_check_private_key(certificate, key) != 1)
        code = err_set(e, ERR_INPUT, "the key in %s is not that of the certificate in %s", tls->key_path,
                       tls->cert_path);
    X509_free(certificate);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return code;
}

/* Every certificate of a file: core would take a bundle up to a broken one and say nothing. */
static enum err_code check_certificates(const char *path, struct err *e)
{
    FILE *const file = fopen(path, "re");
    if (file == NULL)
        return err_errno(e, "open %s", path);
    int count = 0;
    for (X509 *one; (one = PEM_read_X509(file, NULL, NULL, NULL)) != NULL; count++)
        X509_free(one);
    const bool whole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    fclose(file);
    if (count == 0)
        return err_set(e, ERR_INPUT, "%s holds no PEM certificate", path);
    return whole ? ERR_OK : err_set(e, ERR_INPUT, "certificate %d in %s is broken", count + 1, path);
}

enum err_code rpc_tls_check_server(const struct rpc_tls *tls, const char *listen, struct err *e)
{
    TRY(rpc_tls_check(tls, listen, e));
    const char *const missing = tls->ca_path == NULL     ? "tls.ca"
                                : tls->cert_path == NULL ? "tls.cert"
                                : tls->key_path == NULL  ? "tls.key"
                                                         : NULL;
    if (missing == NULL || all_loopback(listen))
        return ERR_OK;
    return err_set(e, ERR_INPUT,
                   "%s is not on loopback: callers must prove who they are (mTLS), which needs tls.ca, "
                   "tls.cert and tls.key; %s is missing",
                   listen, missing);
}

bool rpc_tls_expiry(const char *cert_path, int64_t *out_expires_s)
{
    X509 *certificate = read_certificate(cert_path);
    struct tm end = {0};
    const bool known = certificate != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1;
    if (known)
        *out_expires_s = (int64_t)timegm(&end);
    X509_free(certificate);
    ERR_clear_error();
    return known;
}

enum err_code rpc_tls_check(const struct rpc_tls *tls, const char *address, struct err *e)
{
    const bool any_file = tls->ca_path != NULL || tls->cert_path != NULL || tls->key_path != NULL;
    if (tls->insecure && any_file)
        return err_set(e, ERR_INPUT,
                       "tls.insecure and certificate files exclude each other; drop one of them");
    if (!tls->insecure && !any_file)
        return err_set(e, ERR_INPUT,
                       "no certificates for %s: set tls.ca, tls.cert and tls.key, or on loopback "
                       "tls.insecure",
                       address);
    if (tls->insecure && !all_loopback(address))
        return err_set(e, ERR_INPUT,
                       "%s is not on loopback and may not be plain text; set tls.ca, tls.cert and "
                       "tls.key",
                       address);
    if ((tls->cert_path == NULL) != (tls->key_path == NULL))
        return err_set(e, ERR_INPUT, "tls.cert and tls.key go together; %s is missing",
                       tls->cert_path == NULL ? "tls.cert" : "tls.key");
    TRY(check_readable(tls->ca_path, "tls.ca", e));
    TRY(check_readable(tls->cert_path, "tls.cert", e));
    TRY(check_readable(tls->key_path, "tls.key", e));
    if (tls->ca_path != NULL)
        TRY(check_certificates(tls->ca_path, e));
    if (tls->cert_path == NULL)
        return ERR_OK;
    TRY(check_certificates(tls->cert_path, e));
    return check_pair(tls, e);
}
