#include "p11/probe/probe.h"

#include "base/clock.h"
#include "p11/module/state.h"
#include "p11/probe/rows.h"
#include "p11/tok.h"

#include <stdio.h>
#include <stdlib.h>

static const struct tok_way_row *const tables[] = {tok_ways_keys, tok_ways_pay, tok_ways_transport};
#define TABLES (sizeof tables / sizeof tables[0])

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
                                .flow_name = tok_flow_name(row->flow),
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
    struct tok_ways *const ways = calloc(1, sizeof *ways + count * sizeof ways->rows[0]);
    if (ways == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the report of ways");
    enum err_code code = tok_session_take(tok, &s, e);
    if (code == ERR_OK) {
        code = probe(s, ways->rows, e);
        tok_session_give(s);
    }
    if (code != ERR_OK) {
        free(ways);
        return err_context(e, "cannot find out what the token can do");
    }
    ways->count = count;
    ways->exposure = exposure;
    choose(ways->rows, count, exposure);
    free(tok->ways);
    tok->ways = ways;
    return ERR_OK;
}
