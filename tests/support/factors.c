#include "tests/support/factors.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define FACTOR_DIGITS 16

static void rightmost(const char *number, char out_factor[FACTOR_DIGITS + 1])
{
    const size_t len = strlen(number), kept = len < FACTOR_DIGITS ? len : FACTOR_DIGITS;
    memset(out_factor, '0', FACTOR_DIGITS);
    memcpy(out_factor + FACTOR_DIGITS - kept, number + len - kept, kept);
    out_factor[FACTOR_DIGITS] = '\0';
}

static void add(struct factors *f, const struct vectors *v, int index, const char *text)
{
    ck_assert_msg(text != NULL && strlen(text) == FACTOR_DIGITS && f->levels < FACTOR_LEVELS_MAX,
                  "%s %s: a factor is not 16 digits, or too many levels", v->kind, vectors_id(v, index));
    memcpy(f->digits[f->levels++], text, FACTOR_DIGITS + 1);
}

struct factors factors_of(const struct vectors *v, int index)
{
    struct factors f = {0};
    char made[FACTOR_DIGITS + 1] = "", number[64];
    const json_t *list = json_object_get(vectors_section(v, index, "inputs"), "factors");
    const char *given = vectors_text(v, index, "inputs", "factor");
    const char *psam = vectors_text(v, index, "inputs", "psam_no");
    const char *pan = vectors_text(v, index, "inputs", "pan"), *psn = vectors_text(v, index, "inputs", "psn");
    if (psam != NULL) {
        rightmost(psam, made);
    } else if (pan != NULL) {
        snprintf(number, sizeof number, "%s%s", pan, psn != NULL ? psn : "00");
        rightmost(number, made);
    }
    ck_assert_msg(psam == NULL || given == NULL || strcmp(made, given) == 0,
                  "%s %s: the factor is not the end of psam_no", v->kind, vectors_id(v, index));
    for (size_t i = 0; i < json_array_size(list); i++)
        add(&f, v, index, json_string_value(json_array_get(list, i)));
    if (f.levels == 0)
        add(&f, v, index, given != NULL ? given : made);
    return f;
}
