#include "p11/ways.h"

#include "base/clock.h"
#include "p11/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static const struct tok_way_row *const tables[] = {tok_ways_keys, tok_ways_pay, tok_ways_transport};
#define TABLES (sizeof tables / sizeof tables[0])

const char *tok_grade_name(enum tok_grade grade)
{
    return grade == TOK_IN_TOKEN || grade == TOK_PROCESS_MEMORY ? grade_names[grade] : "UNKNOWN";
}

static size_t count_rows(void)
{
    size_t count = 0;
    for (size_t t = 0; t < TABLES; t++) {
        for (const struct tok_way_row *row = tables[t]; row->way_name != NULL; row++)
            count++;
    }
    return count;
}

static enum err_code try_row(struct tok_session *s, const struct tok_way_row *row, struct tok_way *out_way,
                             struct err *e)
{
    const int64_t start_us = clock_monotonic_us();
    const enum err_code code = row->try_it(s, e);
    *out_way = (struct tok_way){.flow = row->flow,
                                .flow_name = flow_names[row->flow],
                                .way_name = row->way_name,
                                .grade = row->grade,
                                .works = code == ERR_OK,
                                .took_us = clock_monotonic_us() - start_us};
    if (code != ERR_OK)
        snprintf(out_way->why, sizeof out_way->why, "%s", e->note);
    /* What the token cannot do is a finding; a token that went away, or no memory, is no answer. */
    return code == ERR_UNAVAILABLE && e->native != (long)CKR_GENERAL_ERROR &&
                   e->native != (long)CKR_DEVICE_ERROR && e->native != (long)CKR_FUNCTION_FAILED
               ? code
               : ERR_OK;
}

/* The first that works and that policy allows, in the order of the tables. */
static void choose(struct tok_way *ways, size_t count, enum tok_exposure exposure)
{
    bool taken[TOK_FLOW_COUNT] = {false};
    for (size_t i = 0; i < count; i++) {
        const bool allowed = exposure == TOK_EXPOSURE_ANY || ways[i].grade == TOK_IN_TOKEN;
        ways[i].chosen = ways[i].works && allowed && !taken[ways[i].flow];
        if (ways[i].chosen)
            taken[ways[i].flow] = true;
    }
}

static enum err_code probe(struct tok_session *s, struct tok_way *ways, struct err *e)
{
    size_t at = 0;
    for (size_t t = 0; t < TABLES; t++) {
        for (const struct tok_way_row *row = tables[t]; row->way_name != NULL; row++)
            TRY(try_row(s, row, &ways[at++], e));
    }
    return ERR_OK;
}

enum err_code tok_ways_probe(struct tok *tok, enum tok_exposure exposure, struct err *e)
{
    struct tok_session *s = NULL;
    const size_t count = count_rows();
    struct tok_way *ways = calloc(count + 1, sizeof *ways);
    if (ways == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the report of ways");
    enum err_code code = tok_session_take(tok, &s, e);
    if (code == ERR_OK) {
        code = probe(s, ways, e);
        tok_session_give(s);
    }
    if (code != ERR_OK) {
        free(ways);
        return err_context(e, "cannot find out what the token can do");
    }
    choose(ways, count, exposure);
    free(tok->ways);
    tok->ways = ways;
    tok->way_count = count;
    tok->exposure = exposure;
    return ERR_OK;
}

size_t tok_ways_count(const struct tok *tok)
{
    return tok->way_count;
}

const struct tok_way *tok_ways_get(const struct tok *tok, size_t index)
{
    return index < tok->way_count ? &tok->ways[index] : NULL;
}

static const struct tok_way *first_way(const struct tok *tok, enum tok_flow flow, bool that_works)
{
    for (size_t i = 0; i < tok->way_count; i++)
        if (tok->ways[i].flow == flow && (tok->ways[i].works || !that_works))
            return &tok->ways[i];
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

enum err_code tok_way_chosen(struct tok_session *s, enum tok_flow flow, const char **out_way_name,
                             enum tok_grade *out_grade, struct err *e)
{
    const struct tok *tok = s->tok;
    if ((int)flow < 0 || flow >= TOK_FLOW_COUNT)
        return err_set(e, ERR_INTERNAL, "flow %d does not exist", (int)flow);
    for (size_t i = 0; i < tok->way_count; i++) {
        if (tok->ways[i].flow == flow && tok->ways[i].chosen) {
            *out_way_name = tok->ways[i].way_name;
            *out_grade = tok->ways[i].grade;
            return ERR_OK;
        }
    }
    return refuse(tok, flow, e);
}

enum err_code tok_flow_works(struct tok_session *s, enum tok_flow flow, struct err *e)
{
    const char *way;
    enum tok_grade grade;
    return s->tok->way_count == 0 ? ERR_OK : tok_way_chosen(s, flow, &way, &grade, e);
}
