/* Message authentication codes. Source: UnionPay's POS specification (field 64); ANSI X9.9 and X9.19; ISO/IEC
 * 9797-1:2011 algorithms 1 and 3, padding methods 1 and 2; NIST SP 800-38B. */
#include "p11/flow/blob.h"
#include "p11/flow/pay.h"

#define MAC_SHORTEST 4 /* bytes of a truncated MAC that mean anything */

enum mac_core { CORE_CBC, CORE_RETAIL, CORE_XOR, CORE_CMAC };

struct mac_row {
    const char *name;
    enum mac_core core;
    unsigned padding;   /* ISO 9797-1 padding method */
    unsigned key_bytes; /* the only length; 0: 8 or 16 */
    unsigned shortest;  /* bytes of a MAC to check */
    enum tok_flow flow;
};
static const struct mac_row mac_rows[] = {
    /* 8 hexadecimal characters are 32 bits: no part of them is enough */
    [TOK_MAC_UNIONPAY] = {"UnionPay MAC", CORE_XOR, 1, 0, 8, TOK_FLOW_MAC_UNIONPAY},
    [TOK_MAC_X9_9] = {"X9.9", CORE_CBC, 1, 8, MAC_SHORTEST, TOK_FLOW_MAC_X9_9},
    [TOK_MAC_X9_19] = {"X9.19", CORE_RETAIL, 1, 0, MAC_SHORTEST, TOK_FLOW_MAC_X9_19},
    [TOK_MAC_ALG1_PAD2] = {"ISO 9797-1 algorithm 1", CORE_CBC, 2, 0, MAC_SHORTEST, TOK_FLOW_MAC_X9_9},
    [TOK_MAC_ALG1_PAD1] = {"ISO 9797-1 algorithm 1", CORE_CBC, 1, 0, MAC_SHORTEST, TOK_FLOW_MAC_X9_9},
    [TOK_MAC_ALG3_PAD2] = {"ISO 9797-1 algorithm 3", CORE_RETAIL, 2, 0, MAC_SHORTEST, TOK_FLOW_MAC_X9_19},
    [TOK_MAC_CMAC] = {"AES-CMAC", CORE_CMAC, 0, 0, MAC_SHORTEST, TOK_FLOW_MAC_CMAC},
};
#define MAC_ROWS (sizeof mac_rows / sizeof *mac_rows)

/* A message with its padding. Not secret. */
struct padded {
    uint8_t bytes[TOK_DATA_BYTES + DES_BLOCK];
    size_t len;
};

static void pad(struct padded *p, const struct tok_mac_input *input, unsigned method)
{
    if (input->len > 0)
        memcpy(p->bytes, input->data, input->len);
    p->len = input->len;
    if (method == 2)
        p->bytes[p->len++] = 0x80;
    while (p->len % DES_BLOCK != 0 || p->len == 0)
        p->bytes[p->len++] = 0;
}

static enum err_code cbc_mac(struct tok_session *s, CK_OBJECT_HANDLE key, const uint8_t *data, size_t len,
                             uint8_t state[DES_BLOCK], struct err *e)
{
    const struct tok_left whole = {.pair = key};
    return tok_left_cbc(s, &whole, data, len, state, e);
}

/* All blocks but the last under the left half; E_K1 D_K2 E_K1 of the last is 3DES under the whole key. */
static enum err_code retail_mac(struct tok_session *s, const struct tok_mac_key *key, const struct padded *p,
                                uint8_t state[DES_BLOCK], struct err *e)
{
    const size_t last = p->len - DES_BLOCK;
    if (last > 0 && key->key_bytes == DES_BLOCK)
        TRY(cbc_mac(s, key->handle, p->bytes, last, state, e));
    else if (last > 0)
        TRY(tok_left_cbc(s, key->left, p->bytes, last, state, e));
    return cbc_mac(s, key->handle, p->bytes + last, DES_BLOCK, state, e);
}

static void hex_upper(const uint8_t *bytes, size_t len, uint8_t *out)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = (uint8_t)digits[bytes[i] >> 4];
        out[2 * i + 1] = (uint8_t)digits[bytes[i] & 15];
    }
}

/* XOR of all blocks, written as 16 characters, through CBC; the first 8 characters of what comes out. */
static enum err_code xor_mac(struct tok_session *s, CK_OBJECT_HANDLE key, const struct padded *p,
                             uint8_t out[DES_BLOCK], struct err *e)
{
    uint8_t sum[DES_BLOCK] = {0}, text[2 * DES_BLOCK], state[DES_BLOCK] = {0};
    for (size_t i = 0; i < p->len; i++)
        sum[i % DES_BLOCK] ^= p->bytes[i];
    hex_upper(sum, sizeof sum, text);
    TRY(cbc_mac(s, key, text, sizeof text, state, e));
    hex_upper(state, DES_BLOCK / 2, out);
    secret_wipe(state, sizeof state);
    return ERR_OK;
}

static enum err_code check_key(const struct mac_row *row, const struct tok_mac_key *key, struct err *e)
{
    const bool wants_aes = row->core == CORE_CMAC;
    if (wants_aes != (key->suite != TOK_TDES))
        return err_set(e, ERR_INPUT, "%s takes %s key, not one of suite %s", row->name,
                       wants_aes ? "an AES" : "a DES", tok_suite_name(key->suite));
    if (row->key_bytes != 0 && row->key_bytes != key->key_bytes)
        return err_set(e, ERR_INPUT, "%s takes a key of %u bytes, not %u", row->name, row->key_bytes,
                       key->key_bytes);
    return ERR_OK;
}

static enum err_code des_mac(struct tok_session *s, const struct mac_row *row, const struct tok_mac_key *key,
                             const struct tok_mac_input *input, uint8_t out[DES_BLOCK], struct err *e)
{
    struct padded p;
    pad(&p, input, row->padding);
    if (row->core == CORE_XOR)
        return xor_mac(s, key->handle, &p, out, e);
    uint8_t state[DES_BLOCK] = {0};
    if (input->iv != NULL)
        memcpy(state, input->iv, DES_BLOCK);
    if (row->core == CORE_RETAIL)
        TRY(retail_mac(s, key, &p, state, e));
    else
        TRY(cbc_mac(s, key->handle, p.bytes, p.len, state, e));
    memcpy(out, state, DES_BLOCK);
    secret_wipe(state, sizeof state);
    return ERR_OK;
}

enum err_code tok_mac_run(struct tok_session *s, enum tok_mac algorithm, const struct tok_mac_key *key,
                          const struct tok_mac_input *input, uint8_t out_mac[TOK_MAC_BYTES], size_t *out_len,
                          struct err *e)
{
    const struct mac_row *row = &mac_rows[algorithm];
    TRY(check_key(row, key, e));
    if (row->core == CORE_CMAC) {
        CK_MECHANISM cmac = {CKM_AES_CMAC, NULL, 0};
        return tok_sign(s, &cmac, key->handle, input->data, input->len, out_mac, TOK_MAC_BYTES, out_len, e);
    }
    TRY(des_mac(s, row, key, input, out_mac, e));
    *out_len = DES_BLOCK;
    return ERR_OK;
}

/* ---- flows ---- */

static enum err_code check_request(const struct tok_mac_request *request, struct err *e)
{
    if ((unsigned)request->algorithm >= MAC_ROWS || mac_rows[request->algorithm].name == NULL)
        return err_set(e, ERR_INPUT, "MAC algorithm %u is not known", (unsigned)request->algorithm);
    if (request->len == 0 || request->data == NULL)
        return err_set(e, ERR_INPUT, "a MAC needs at least one byte of data");
    if (request->len > TOK_DATA_BYTES)
        return err_set(e, ERR_LIMIT, "%zu bytes to authenticate; at most %d", request->len, TOK_DATA_BYTES);
    return ERR_OK;
}

/* Algorithm 3 needs the left half alone. Keys that were made here bring it along; one that another tool put
 * into the token may still let itself be cut. */
static enum err_code open_left(struct tok_session *s, const struct tok_opened *key, struct tok_left *out_left,
                               struct err *e)
{
    if (key->left != CK_INVALID_HANDLE) {
        tok_left_pair(key->left, out_left);
        return ERR_OK;
    }
    if (tok_left_extract(s, key->handle, out_left, e) == ERR_OK ||
        tok_left_append(s, key->handle, out_left, e) == ERR_OK)
        return ERR_OK;
    if (e != NULL && e->code == ERR_UNAVAILABLE)
        return e->code;
    return err_set(e, ERR_UNSUPPORTED,
                   "the key came without its left half, and the token may not cut it; make the "
                   "zone's MAC key with `posward key init`");
}

static bool wants_left(const struct mac_row *row, const struct tok_opened *key)
{
    return row->core == CORE_RETAIL && key->suite == TOK_TDES && key->key_bytes != DES_BLOCK;
}

static enum err_code make(struct tok_session *s, const struct tok_mac_request *request,
                          enum tok_purpose purpose, struct tok_mac_value *out_mac, struct err *e)
{
    TRY(check_request(request, e));
    const struct mac_row *row = &mac_rows[request->algorithm];
    AUTO(tok_opened) opened = {0};
    const struct tok_need need = {TOK_MAK, TOK_ZONE_MAC, purpose};
    TRY(tok_open_ref(s, &request->key, &need, &opened, e));

    const char *way;
    struct tok_mac_value mac = {0};
    TRY(tok_way_chosen(s->tok, row->flow, &way, &mac.grade, e));
    AUTO(tok_left) left = {0};
    if (wants_left(row, &opened))
        TRY(open_left(s, &opened, &left, e));

    const struct tok_mac_key mac_key = {opened.handle, opened.suite, opened.key_bytes, &left};
    const struct tok_mac_input input = {.data = request->data, .len = request->len};
    TRY(tok_mac_run(s, request->algorithm, &mac_key, &input, mac.bytes, &mac.len, e));
    *out_mac = mac;
    return ERR_OK;
}

enum err_code tok_mac_make(struct tok_session *s, const struct tok_mac_request *request,
                           struct tok_mac_value *out_mac, struct err *e)
{
    return make(s, request, TOK_PROTECT, out_mac, e);
}

enum err_code tok_mac_check(struct tok_session *s, const struct tok_mac_request *request, bool *out_matches,
                            enum tok_grade *out_grade, struct err *e)
{
    TRY(check_request(request, e));
    const struct mac_row *row = &mac_rows[request->algorithm];
    const size_t longest = row->core == CORE_CMAC ? TOK_MAC_BYTES : DES_BLOCK;
    if (request->mac == NULL || request->mac_len < row->shortest || request->mac_len > longest)
        return err_set(e, ERR_INPUT, "a MAC to check has %zu bytes; %s has %u to %zu", request->mac_len,
                       row->name, row->shortest, longest);
    struct tok_mac_value right;
    TRY(make(s, request, TOK_OPEN, &right, e));
    *out_matches = request->mac_len <= right.len && secret_equal(right.bytes, request->mac, request->mac_len);
    *out_grade = right.grade;
    secret_wipe(&right, sizeof right); /* the right MAC of a forged message is worth stealing */
    return ERR_OK;
}
