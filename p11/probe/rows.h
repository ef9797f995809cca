/* Inside probe only: one row a way, in order of preference within its flow. */
#ifndef POSWARD_P11_PROBE_ROWS_H
#define POSWARD_P11_PROBE_ROWS_H

#include "p11/flow/way.h"
#include "p11/object/object.h"

#include "base/secret.h"

struct tok_way_row {
    enum tok_flow flow;
    const char *way_name;
    enum tok_grade grade;
    /* Do it with throw-away keys in `s` and compare with a known answer: ERR_OK only when right. */
    enum err_code (*try_it)(struct tok_session *s, struct err *e);
};
/* Each file of ways owns its rows; ends with a row without a name. probe.c joins the tables. */
extern const struct tok_way_row tok_ways_keys[];      /* derive, working keys, blob: key_ways.c */
extern const struct tok_way_row tok_ways_pay[];       /* kcv, mac, pin, data, card: pay_ways.c */
extern const struct tok_way_row tok_ways_transport[]; /* import, export, key blocks: transport_ways.c */

/* A known answer. */
static inline enum err_code probe_expect(const void *got, const void *right, size_t len, struct err *e)
{
    return secret_equal(got, right, len) ? ERR_OK : err_set(e, ERR_CHECK, "wrong answer");
}

#endif
