#include "hsm-service/audit/signature.h"

#include "base/base64.h"

#include <inttypes.h>
#include <nettle/ecc-curve.h>
#include <nettle/ecdsa.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COORDINATE_BYTES 32
#define PEM_BYTES        1024 /* largest key file that is read */
#define PEM_HEAD         "-----BEGIN PUBLIC KEY-----"
#define PEM_TAIL         "-----END PUBLIC KEY-----"
#define PEM_LINE         64

/* SEQUENCE { SEQUENCE { id-ecPublicKey, secp256r1 }, BIT STRING }, up to the point (RFC 5480 2). */
static const uint8_t spki_head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48,
                                    0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
                                    0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
#define SPKI_BYTES (sizeof spki_head + AUDIT_POINT_BYTES)

void audit_checkpoint_digest(const struct audit_head *head, uint8_t out_digest[AUDIT_HASH_BYTES])
{
    char text[160], hash[2 * AUDIT_HASH_BYTES + 1];
    audit_hex(head->hash, sizeof head->hash, hash);
    const int len =
        snprintf(text, sizeof text, "posward audit checkpoint 1\n%" PRIu64 "\n%s\n", head->seq, hash);
    audit_sha256(text, (size_t)len, out_digest);
}

static bool set_point(const struct audit_key *key, struct ecc_point *point)
{
    mpz_t x, y;
    mpz_init(x);
    mpz_init(y);
    mpz_import(x, COORDINATE_BYTES, 1, 1, 1, 0, key->point + 1);
    mpz_import(y, COORDINATE_BYTES, 1, 1, 1, 0, key->point + 1 + COORDINATE_BYTES);
    const bool on_curve = key->point[0] == 4 && ecc_point_set(point, x, y) == 1;
    mpz_clear(x);
    mpz_clear(y);
    return on_curve;
}

enum err_code audit_checkpoint_check(const struct audit_key *key, const struct audit_head *head,
                                     const uint8_t signature[AUDIT_SIGNATURE_BYTES], struct err *e)
{
    uint8_t digest[AUDIT_HASH_BYTES];
    struct ecc_point point;
    struct dsa_signature rs;
    ecc_point_init(&point, nettle_get_secp_256r1());
    dsa_signature_init(&rs);
    mpz_import(rs.r, COORDINATE_BYTES, 1, 1, 1, 0, signature);
    mpz_import(rs.s, COORDINATE_BYTES, 1, 1, 1, 0, signature + COORDINATE_BYTES);
    audit_checkpoint_digest(head, digest);
    const bool on_curve = set_point(key, &point);
    const bool good = on_curve && ecdsa_verify(&point, sizeof digest, digest, &rs) == 1;
    dsa_signature_clear(&rs);
    ecc_point_clear(&point);
    if (!on_curve)
        return err_set(e, ERR_INPUT, "the public key is no point of the curve P-256");
    return good ? ERR_OK
                : err_set(e, ERR_CHECK, "the signature of record %" PRIu64 " is not this public key's",
                          head->seq);
}

void audit_checkpoint_note(const struct audit_head *head, const uint8_t signature[AUDIT_SIGNATURE_BYTES],
                           char out_note[AUDIT_TEXT_BYTES])
{
    char hash[2 * AUDIT_HASH_BYTES + 1], sig[2 * AUDIT_SIGNATURE_BYTES + 1];
    audit_hex(head->hash, sizeof head->hash, hash);
    audit_hex(signature, AUDIT_SIGNATURE_BYTES, sig);
    snprintf(out_note, AUDIT_TEXT_BYTES, "at=%" PRIu64 " hash=%s sig=%s", head->seq, hash, sig);
}

enum err_code audit_checkpoint_read(const char *note, struct audit_head *out_head,
                                    uint8_t out_signature[AUDIT_SIGNATURE_BYTES], struct err *e)
{
    struct audit_head head = {0};
    uint8_t signature[AUDIT_SIGNATURE_BYTES];
    char hash[2 * AUDIT_HASH_BYTES + 1] = "", sig[2 * AUDIT_SIGNATURE_BYTES + 1] = "",
                                     again[AUDIT_TEXT_BYTES];
    if (sscanf(note, "at=%" SCNu64 " hash=%64[0-9a-f] sig=%128[0-9a-f]", &head.seq, hash, sig) != 3 ||
        strlen(hash) != 2 * AUDIT_HASH_BYTES || strlen(sig) != 2 * AUDIT_SIGNATURE_BYTES)
        return err_set(e, ERR_INPUT, "the note is not that of a checkpoint");
    TRY(audit_unhex(hash, AUDIT_HASH_BYTES, head.hash, e));
    TRY(audit_unhex(sig, AUDIT_SIGNATURE_BYTES, signature, e));
    audit_checkpoint_note(&head, signature, again);
    if (strcmp(note, again) != 0)
        return err_set(e, ERR_INPUT, "the note is not in the form of a checkpoint");
    *out_head = head;
    memcpy(out_signature, signature, sizeof signature);
    return ERR_OK;
}

enum err_code audit_key_write(const struct audit_key *key, const char *path, struct err *e)
{
    uint8_t der[SPKI_BYTES];
    char text[BASE64_TEXT_BYTES(SPKI_BYTES)], beside[1024];
    memcpy(der, spki_head, sizeof spki_head);
    memcpy(der + sizeof spki_head, key->point, sizeof key->point);
    base64_encode(der, sizeof der, text);
    if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside)
        return err_set(e, ERR_INPUT, "the public key's path is too long");
    FILE *const file = fopen(beside, "we");
    if (file == NULL)
        return err_errno(e, "cannot write %s", beside);
    fputs(PEM_HEAD "\n", file);
    for (size_t i = 0; i < strlen(text); i += PEM_LINE)
        fprintf(file, "%.*s\n", PEM_LINE, text + i);
    fputs(PEM_TAIL "\n", file);
    if (fclose(file) != 0 || rename(beside, path) != 0) {
        const enum err_code code = err_errno(e, "cannot write %s", path);
        (void)unlink(beside);
        return code;
    }
    return ERR_OK;
}

enum err_code audit_key_read(const char *path, struct audit_key *out_key, struct err *e)
{
    char text[PEM_BYTES], packed[PEM_BYTES];
    uint8_t der[BASE64_BYTES(PEM_BYTES)];
    size_t n = 0, len = 0;
    FILE *const file = fopen(path, "re");
    if (file == NULL)
        return err_errno(e, "cannot read %s", path);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    char *const head = strstr(text, PEM_HEAD), *const tail = strstr(text, PEM_TAIL);
    if (head == NULL || tail == NULL || tail < head)
        return err_set(e, ERR_INPUT, "%s holds no PEM public key", path);
    for (const char *c = head + sizeof PEM_HEAD - 1; c < tail; c++)
        if (*c != '\n' && *c != '\r')
            packed[n++] = *c;
    TRY(base64_decode(packed, n, der, &len, e));
    if (len != SPKI_BYTES)
        return err_set(e, ERR_INPUT, "%s holds no public key of EC P-256", path);
    for (size_t i = 0; i < sizeof spki_head; i++)
        if (der[i] != spki_head[i])
            return err_set(e, ERR_INPUT, "%s holds no public key of EC P-256", path);
    memcpy(out_key->point, der + sizeof spki_head, sizeof out_key->point);
    return ERR_OK;
}
