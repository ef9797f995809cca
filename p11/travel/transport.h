/* How keys travel into the token and, at their making, out of it. Any thread; each call takes sessions of its
 * own.
 *
 * A zone's keys travel under its zone master key (ZMK, KEK, KBPK): as a cryptogram, RFC 3394 or X9.143 key
 * block; any symmetric key under the token's RSA transport key; components of keys under its RSA component
 * key. Each form is a flow with ways and grades (flow/way.h). A key of the token is never extractable: one
 * that has to be handed out is wrapped while it is made. */
#ifndef POSWARD_P11_TRAVEL_TRANSPORT_H
#define POSWARD_P11_TRAVEL_TRANSPORT_H

#include "p11/flow/flows.h"

enum tok_key_format {
    TOK_RSA_OAEP = 1,    /* PKCS #1 v2.2 OAEP with SHA-1 and MGF1-SHA-1, which every token does */
    TOK_AES_KW,          /* RFC 3394 */
    TOK_TDES_CRYPTOGRAM, /* 3DES ECB */
    TOK_TR31_B,
    TOK_TR31_D
};

#define TOK_KEY_BLOCK_CHARACTERS 4096 /* of a key block, at most */
#define TOK_OPTIONAL_BLOCKS      16
#define TOK_OPTIONAL_TEXT        72  /* what is kept of each for showing, with NUL */
#define TOK_SPKI_BYTES           422 /* RFC 5280 SubjectPublicKeyInfo of RSA-3072, at most */

struct tok_key_block_header {
    char version;
    char usage[3], algorithm, mode;
    char key_version[3], exportability, context;
    size_t optional_count;
    char optional[TOK_OPTIONAL_BLOCKS][TOK_OPTIONAL_TEXT]; /* "KS 00604B12..." */
};

struct tok_import {
    struct tok_key_name name; /* of the new key */
    enum tok_key_state state;
    const uint8_t *kcv; /* 3 bytes that it must have; NULL: not known */
    bool check_only;    /* open and compare, keep nothing */
    enum tok_key_format format;
    struct tok_key_name under; /* zone-master of the same zone, or transport; version 0: the newest */
    const uint8_t *wrapped;    /* or */
    size_t len;
    const char *key_block;
};
struct tok_imported {
    struct tok_key_info info; /* with check_only: name, label and KCV */
    struct tok_key_block_header header;
    bool has_header;
    enum tok_grade grade;
};
/* ERR_CHECK the MAC, the KCV or the wrapping is wrong (the note begins with which); ERR_DENIED the header is
 * for another use, or policy forbids the only way; ERR_INPUT a form; ERR_EXISTS; ERR_NOT_FOUND the key it is
 * under. */
enum err_code tok_key_import_wrapped(struct tok *tok, const struct tok_import *request,
                                     struct tok_imported *out_imported, struct err *e) MUST_CHECK;

struct tok_export {
    struct tok_key_name name; /* of the new key, a zone's */
    enum tok_key_state state;
    bool check_only;            /* look whether it can be done, and at which grade */
    enum tok_key_format format; /* not RSA_OAEP */
    struct tok_key_name under;
};
struct tok_exported {
    struct tok_key_info info;
    uint8_t wrapped[64];
    size_t len; /* 0: it is a key block */
    char key_block[256];
    unsigned under_version;
    enum tok_grade grade;
};
enum err_code tok_key_generate_exported(struct tok *tok, const struct tok_export *request,
                                        struct tok_exported *out_exported, struct err *e) MUST_CHECK;

/* A component that is enciphered under the newest component key: its value, in this process's locked memory,
 * and its check value as a key of `name`. ERR_CHECK it does not open; ERR_INPUT it has another length. */
enum err_code tok_component_open(struct tok *tok, const struct tok_key_name *name, const uint8_t *component,
                                 size_t len, struct secret *out_value, uint8_t out_kcv[3],
                                 struct err *e) MUST_CHECK;
/* By the token's public key. */
enum err_code tok_component_seal(struct tok *tok, const struct secret *value,
                                 uint8_t out_component[TOK_RSA_BYTES], struct err *e) MUST_CHECK;
/* Policy allows components, which pass through this process: their grade. ERR_DENIED, ERR_UNSUPPORTED. */
enum err_code tok_component_grade(struct tok *tok, enum tok_grade *out_grade, struct err *e) MUST_CHECK;
/* The public half of a transport or component key in DER. */
enum err_code tok_pair_spki(struct tok *tok, const struct tok_key_name *name, uint8_t out_der[TOK_SPKI_BYTES],
                            size_t *out_len, struct err *e) MUST_CHECK;
/* What tells a pair of any role and state from another one, since pairs have no check value: the modulus, or
 * the point. Takes a session. ERR_NOT_FOUND. */
struct tok_pair_identity {
    uint8_t bytes[TOK_RSA_BYTES];
    size_t len;
};
enum err_code tok_pair_identity(struct tok *tok, const struct tok_key_name *name,
                                struct tok_pair_identity *out_identity, struct err *e) MUST_CHECK;

#endif
