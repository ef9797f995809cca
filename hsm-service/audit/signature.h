/* Checkpoints: the token's audit key (ECDSA, EC P-256) signs where the chain stands.
 *
 * What is signed is SHA-256("posward audit checkpoint 1\n" seq "\n" hash-in-hex "\n"). The signature stands
 * in a later record's note: "at=SEQ hash=HEX sig=HEX"; records may lie between, since the token takes its
 * time. Sources: FIPS 186-5 6.4, SEC 1 2.3.3, RFC 5480. */
#ifndef POSWARD_HSM_SERVICE_AUDIT_SIGNATURE_H
#define POSWARD_HSM_SERVICE_AUDIT_SIGNATURE_H

#include "hsm-service/audit/record.h"

#define AUDIT_POINT_BYTES     65    /* 04 || x || y */
#define AUDIT_SIGNATURE_BYTES 64    /* r || s */
#define AUDIT_CHECKPOINT_LAG  65536 /* most records from the one that is signed to the one that says so */

struct audit_key {
    uint8_t point[AUDIT_POINT_BYTES];
};

void audit_checkpoint_digest(const struct audit_head *head, uint8_t out_digest[AUDIT_HASH_BYTES]);
/* ERR_CHECK the signature is not this key's for `head`; ERR_INPUT the point is not on the curve. */
enum err_code audit_checkpoint_check(const struct audit_key *key, const struct audit_head *head,
                                     const uint8_t signature[AUDIT_SIGNATURE_BYTES],
                                     struct err *e) MUST_CHECK;
/* The note of a checkpoint record, and back. */
void audit_checkpoint_note(const struct audit_head *head, const uint8_t signature[AUDIT_SIGNATURE_BYTES],
                           char out_note[AUDIT_TEXT_BYTES]);
enum err_code audit_checkpoint_read(const char *note, struct audit_head *out_head,
                                    uint8_t out_signature[AUDIT_SIGNATURE_BYTES], struct err *e) MUST_CHECK;

/* A PEM file with a SubjectPublicKeyInfo, as openssl reads it. Written beside its name and renamed. */
enum err_code audit_key_write(const struct audit_key *key, const char *path, struct err *e) MUST_CHECK;
enum err_code audit_key_read(const char *path, struct audit_key *out_key, struct err *e) MUST_CHECK;

#endif
