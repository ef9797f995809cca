/* Ways: a flow can be done by one or more sequences of standard PKCS#11 calls. The probe tries each on the
 * token with throw-away keys and keeps the first that works and gives the right answer; flags are not
 * believed. */
#ifndef POSWARD_P11_FLOW_WAY_H
#define POSWARD_P11_FLOW_WAY_H

#include "p11/module/token.h"

#include <string.h>

enum tok_grade {
    TOK_IN_TOKEN = 1,      /* no clear key or PIN leaves the token */
    TOK_PROCESS_MEMORY = 2 /* a clear value passes through this process's locked memory */
};

/* Ways that more than one place names. */
#define TOK_WAY_WRAP   "wrap"
#define TOK_WAY_CHAIN  "chain"
#define TOK_WAY_UNWRAP "unwrap"
#define TOK_WAY_DERIVE "derive"

static inline bool tok_way_is(const char *chosen, const char *name)
{
    return strcmp(chosen, name) == 0;
}

enum tok_flow {
    TOK_FLOW_DIVERSIFY_TDES,
    TOK_FLOW_DIVERSIFY_AES,
    TOK_FLOW_WORKING_KEY_TDES, /* ways: wrap, chain */
    TOK_FLOW_WORKING_KEY_AES,
    TOK_FLOW_WORKING_KEY_USAGE, /* wrap version 2: AES, each usage under a key of its own */
    TOK_FLOW_BLOB,
    TOK_FLOW_RESEAL, /* a blob to other storage and tag keys; ways: unwrap, derive (TMKs only: a working key
                        is replaced at the terminal's next sign-in) */
    TOK_FLOW_KCV,
    TOK_FLOW_MAC_UNIONPAY,
    TOK_FLOW_MAC_X9_9,
    TOK_FLOW_MAC_X9_19,
    TOK_FLOW_MAC_CMAC,
    TOK_FLOW_PIN_TDES,   /* same format and PAN, TDES to TDES; ways: object, block */
    TOK_FLOW_PIN_AES,    /* format 4 to format 4; ways: object, block */
    TOK_FLOW_PIN_FORMAT, /* another format or suite; ways: block */
    TOK_FLOW_DATA,
    TOK_FLOW_CARD_PBOC, /* ways: concat, clear */
    TOK_FLOW_CARD_AES,  /* ways: transport */
    TOK_FLOW_IMPORT_OAEP,
    TOK_FLOW_IMPORT_AES_KW,
    TOK_FLOW_IMPORT_TDES, /* ways: unwrap, decrypt */
    TOK_FLOW_EXPORT_AES_KW,
    TOK_FLOW_EXPORT_TDES, /* ways: wrap, encrypt */
    TOK_FLOW_KEY_BLOCK_B, /* in and out */
    TOK_FLOW_KEY_BLOCK_D,
    TOK_FLOW_COMPONENT,
    TOK_FLOW_AUDIT, /* the signature under the audit log */
    TOK_FLOW_COUNT
};

/* What the probe found for one way of one flow. */
struct tok_way {
    enum tok_flow flow;
    const char *flow_name, *way_name; /* "working-key-tdes", "chain" */
    enum tok_grade grade;
    bool works, chosen;
    int64_t took_us;
    char why[120]; /* where it does not work: the call and its CKR, "C_WrapKey: CKR_MECHANISM_INVALID" */
};

/* Which grades may be used; a flow whose only ways are refused by policy fails with ERR_DENIED. */
enum tok_exposure { TOK_EXPOSURE_ANY = 0, TOK_EXPOSURE_IN_TOKEN = 1 };

size_t tok_ways_count(const struct tok *tok);
const struct tok_way *tok_ways_get(const struct tok *tok, size_t index);
/* Flows that have no way on this token, whatever policy allows: of each its preferred way, which says why; at
 * most `capacity`. How many were written. */
size_t tok_ways_missing(const struct tok *tok, const struct tok_way **out_ways, size_t capacity);
const char *tok_grade_name(enum tok_grade grade); /* "IN_TOKEN" */
const char *tok_flow_name(enum tok_flow flow);    /* "working-key-tdes" */
enum tok_exposure tok_exposure(const struct tok *tok);

/* What the probe found, best way of each flow first; freed with the token. */
struct tok_ways {
    enum tok_exposure exposure;
    size_t count;
    struct tok_way rows[];
};

/* The name of the chosen way, and its grade; ERR_UNSUPPORTED or ERR_DENIED as flows.h says. */
enum err_code tok_way_chosen(const struct tok *tok, enum tok_flow flow, const char **out_way_name,
                             enum tok_grade *out_grade, struct err *e) MUST_CHECK;
/* The same for a step that has one way: ERR_OK as well where nothing was probed, as in a ceremony. */
enum err_code tok_flow_works(const struct tok *tok, enum tok_flow flow, struct err *e) MUST_CHECK;

#endif
