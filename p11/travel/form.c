#include "p11/travel/form.h"

#include <string.h>

const struct travel_form travel_forms[] = {
    [TOK_RSA_OAEP] = {TOK_FLOW_IMPORT_OAEP, TOK_FLOW_COUNT, TOK_TRANSPORT, false, false},
    [TOK_AES_KW] = {TOK_FLOW_IMPORT_AES_KW, TOK_FLOW_EXPORT_AES_KW, TOK_ZONE_MASTER, false, false},
    [TOK_TDES_CRYPTOGRAM] = {TOK_FLOW_IMPORT_TDES, TOK_FLOW_EXPORT_TDES, TOK_ZONE_MASTER, true, false},
    [TOK_TR31_B] = {TOK_FLOW_KEY_BLOCK_B, TOK_FLOW_KEY_BLOCK_B, TOK_ZONE_MASTER, true, true},
    [TOK_TR31_D] = {TOK_FLOW_KEY_BLOCK_D, TOK_FLOW_KEY_BLOCK_D, TOK_ZONE_MASTER, false, true},
};

/* NIST SP 800-57 part 1, table 2. */
static unsigned strength_bits(enum tok_suite suite)
{
    return suite == TOK_TDES ? 112 : suite == TOK_AES_128 ? 128 : 256;
}

enum err_code travel_check_under(enum tok_key_format format, const struct tok_key_name *name,
                                 const struct tok_key_name *under, struct err *e)
{
    if (format < TOK_RSA_OAEP || format > TOK_TR31_D)
        return err_set(e, ERR_INPUT, "format %d does not exist", (int)format);
    const struct travel_form *const form = &travel_forms[format];
    if (under->role != form->under)
        return err_set(e, ERR_INPUT, "under: this format takes a %s key, not %s", tok_role_name(form->under),
                       tok_role_name(under->role));
    if (form->under != TOK_ZONE_MASTER)
        return ERR_OK;
    if ((under->suite == TOK_TDES) != form->tdes)
        return err_set(e, ERR_INPUT, "under: this format takes a zone master key of %s",
                       form->tdes ? "suite tdes" : "an AES suite");
    if (strength_bits(under->suite) < strength_bits(name->suite))
        return err_set(e, ERR_DENIED,
                       "under: a key of suite %s does not travel under one of suite %s, which is weaker",
                       tok_suite_name(name->suite), tok_suite_name(under->suite));
    if (strcmp(under->zone, name->zone) != 0)
        return err_set(e, ERR_DENIED, "under: a key of zone '%s' does not travel under zone '%s'", name->zone,
                       under->zone);
    return ERR_OK;
}

size_t travel_kbpk_bytes(const struct tok_found *under)
{
    return tok_key_bytes(under->name.role, under->name.suite);
}

/* Tokens say a wrong key or a changed wrapping in many ways; who waits for the key hears one. */
enum err_code travel_name_failure(enum err_code code, struct err *e)
{
    const bool vague = e->native == CKR_GENERAL_ERROR || e->native == CKR_FUNCTION_FAILED; /* SoftHSM's */
    if (code == ERR_OK || e->native == 0 || (code == ERR_UNAVAILABLE && !vague))
        return code; /* ours, or the token's own trouble, which the recovery ladder has to see */
    if (code != ERR_INPUT && code != ERR_UNSUPPORTED && code != ERR_CHECK && code != ERR_UNAVAILABLE)
        return code;
    e->code = ERR_CHECK;
    err_prefix(e, "wrapping: it does not open under this key; it was changed, or is of another key");
    return ERR_CHECK;
}

/* Whether the way is in the token or not, a key that has to be halved here passes through this process. */
bool travel_is_halved(const struct tok_key_name *name)
{
    return name->role == TOK_ZONE_MAC && name->suite == TOK_TDES;
}

enum err_code travel_refuse_halved(const struct tok_key_name *name, struct err *e)
{
    return travel_is_halved(name) ? err_set(e, ERR_UNSUPPORTED,
                                            "a %s key of suite %s has its left half beside it, which only a "
                                            "cryptogram or a key block gives",
                                            tok_role_name(name->role), tok_suite_name(name->suite))
                                  : ERR_OK;
}

enum err_code travel_pass_here(struct tok *tok, const struct tok_key_name *name, enum tok_grade *out_grade,
                               struct err *e)
{
    if (tok_exposure(tok) == TOK_EXPOSURE_IN_TOKEN)
        return err_set(e, ERR_DENIED,
                       "policy keeps every key in the token; a %s key of suite %s would pass "
                       "through this process's memory",
                       tok_role_name(name->role), tok_suite_name(name->suite));
    *out_grade = TOK_PROCESS_MEMORY;
    return ERR_OK;
}
