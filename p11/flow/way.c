#include "p11/flow/way.h"

#include "p11/module/state.h"

static const char *const flow_names[TOK_FLOW_COUNT] = {
    [TOK_FLOW_DIVERSIFY_TDES] = "diversify-tdes",
    [TOK_FLOW_DIVERSIFY_AES] = "diversify-aes",
    [TOK_FLOW_WORKING_KEY_TDES] = "working-key-tdes",
    [TOK_FLOW_WORKING_KEY_AES] = "working-key-aes",
    [TOK_FLOW_WORKING_KEY_USAGE] = "working-key-usage",
    [TOK_FLOW_BLOB] = "blob",
    [TOK_FLOW_RESEAL] = "reseal",
    [TOK_FLOW_KCV] = "kcv",
    [TOK_FLOW_MAC_UNIONPAY] = "mac-unionpay",
    [TOK_FLOW_MAC_X9_9] = "mac-x9.9",
    [TOK_FLOW_MAC_X9_19] = "mac-x9.19",
    [TOK_FLOW_MAC_CMAC] = "mac-cmac",
    [TOK_FLOW_PIN_TDES] = "pin-tdes",
    [TOK_FLOW_PIN_AES] = "pin-aes",
    [TOK_FLOW_PIN_FORMAT] = "pin-format",
    [TOK_FLOW_DATA] = "data",
    [TOK_FLOW_CARD_PBOC] = "card-pboc",
    [TOK_FLOW_CARD_AES] = "card-aes",
    [TOK_FLOW_IMPORT_OAEP] = "import-rsa-oaep",
    [TOK_FLOW_IMPORT_AES_KW] = "import-aes-key-wrap",
    [TOK_FLOW_IMPORT_TDES] = "import-tdes-ecb",
    [TOK_FLOW_EXPORT_AES_KW] = "export-aes-key-wrap",
    [TOK_FLOW_EXPORT_TDES] = "export-tdes-ecb",
    [TOK_FLOW_KEY_BLOCK_B] = "key-block-b",
    [TOK_FLOW_KEY_BLOCK_D] = "key-block-d",
    [TOK_FLOW_COMPONENT] = "component",
    [TOK_FLOW_AUDIT] = "audit",
};

static const char *const grade_names[] = {
    [TOK_IN_TOKEN] = "IN_TOKEN", [TOK_PROCESS_MEMORY] = "PROCESS_MEMORY"};

const char *tok_grade_name(enum tok_grade grade)
{
    return grade == TOK_IN_TOKEN || grade == TOK_PROCESS_MEMORY ? grade_names[grade] : "UNKNOWN";
}

const char *tok_flow_name(enum tok_flow flow)
{
    return flow_names[flow];
}

enum tok_exposure tok_exposure(const struct tok *tok)
{
    return tok->ways != NULL ? tok->ways->exposure : TOK_EXPOSURE_ANY;
}

size_t tok_ways_count(const struct tok *tok)
{
    return tok->ways != NULL ? tok->ways->count : 0;
}

const struct tok_way *tok_ways_get(const struct tok *tok, size_t index)
{
    return index < tok_ways_count(tok) ? &tok->ways->rows[index] : NULL;
}

static const struct tok_way *first_way(const struct tok *tok, enum tok_flow flow, bool that_works)
{
    for (size_t i = 0; i < tok_ways_count(tok); i++)
        if (tok->ways->rows[i].flow == flow && (tok->ways->rows[i].works || !that_works))
            return &tok->ways->rows[i];
    return NULL;
}

size_t tok_ways_missing(const struct tok *tok, const struct tok_way **out_ways, size_t capacity)
{
    size_t count = 0;
    for (int flow = 0; flow < TOK_FLOW_COUNT && count < capacity; flow++) {
        const struct tok_way *const preferred = first_way(tok, (enum tok_flow)flow, false);
        if (preferred != NULL && first_way(tok, (enum tok_flow)flow, true) == NULL)
            out_ways[count++] = preferred;
    }
    return count;
}

/* Nothing was chosen: because nothing works, or because policy forbids what does? */
static enum err_code refuse(const struct tok *tok, enum tok_flow flow, struct err *e)
{
    const struct tok_way *const works = first_way(tok, flow, true);
    const struct tok_way *const preferred = first_way(tok, flow, false);
    if (works != NULL)
        return err_set(e, ERR_DENIED,
                       "%s works on this token only by the %s way, graded %s, which policy forbids",
                       flow_names[flow], works->way_name, tok_grade_name(works->grade));
    if (preferred == NULL)
        return err_set(e, ERR_STATE, "the token's ways were not probed for %s", flow_names[flow]);
    return err_set(e, ERR_UNSUPPORTED, "this token cannot do %s: %s", flow_names[flow], preferred->why);
}

enum err_code tok_way_chosen(const struct tok *tok, enum tok_flow flow, const char **out_way_name,
                             enum tok_grade *out_grade, struct err *e)
{
    if ((int)flow < 0 || flow >= TOK_FLOW_COUNT)
        return err_set(e, ERR_INTERNAL, "flow %d does not exist", (int)flow);
    for (size_t i = 0; i < tok_ways_count(tok); i++) {
        const struct tok_way *const way = &tok->ways->rows[i];
        if (way->flow == flow && way->chosen) {
            *out_way_name = way->way_name;
            *out_grade = way->grade;
            return ERR_OK;
        }
    }
    return refuse(tok, flow, e);
}

enum err_code tok_flow_works(const struct tok *tok, enum tok_flow flow, struct err *e)
{
    const char *way;
    enum tok_grade grade;
    return tok_ways_count(tok) == 0 ? ERR_OK : tok_way_chosen(tok, flow, &way, &grade, e);
}
