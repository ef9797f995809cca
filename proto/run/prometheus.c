#include "run/prometheus.h"

#include "base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LABELS_MOST 16

static bool is_name(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_:0123456789";
    const size_t len = strlen(name);
    return len > 0 && strspn(name, letters) == len && !(name[0] >= '0' && name[0] <= '9');
}

static bool is_known(const struct prometheus *page, const char *name)
{
    for (size_t i = 0; i < page->count; i++)
        if (strcmp(page->names[i], name) == 0)
            return true;
    return false;
}

/* HELP text knows no quotes; a label's value stands between them. */
static void put_escaped(FILE *out, const char *text, bool quoted)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\\' || (quoted && *text == '"'))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

void prometheus_family(struct prometheus *page, const char *name, enum prometheus_type type, const char *help)
{
    static const char *const types[] = {
        [PROMETHEUS_COUNTER] = "counter", [PROMETHEUS_GAUGE] = "gauge", [PROMETHEUS_HISTOGRAM] = "histogram"};
    page->family = NULL;
    if (!is_name(name) || is_known(page, name) || page->count == PROMETHEUS_FAMILIES_MOST) {
        log_event(LOG_ERROR, "metric left out: no name, one that is there already, or too many",
                  LOG_STR("metric", name));
        return;
    }
    page->family = page->names[page->count++] = name;
    fprintf(page->out, "# HELP %s ", name);
    put_escaped(page->out, help, false);
    fprintf(page->out, "\n# TYPE %s %s\n", name, types[type]);
}

/* `bound` NULL: no label le. */
static void put_name(const struct prometheus *page, const char *suffix, const struct prometheus_label *labels,
                     const char *bound)
{
    const char *between = "{";
    fprintf(page->out, "%s%s", page->family, suffix);
    for (size_t i = 0; labels != NULL && i < LABELS_MOST && labels[i].name != NULL; i++) {
        fprintf(page->out, "%s%s=\"", between, labels[i].name);
        put_escaped(page->out, labels[i].value != NULL ? labels[i].value : "", true);
        fputc('"', page->out);
        between = ",";
    }
    if (bound != NULL) {
        fprintf(page->out, "%sle=\"%s\"", between, bound);
        between = ",";
    }
    fputs(between[0] == ',' ? "} " : " ", page->out);
}

/* printf would write "nan" and "inf". */
static void put_number(const struct prometheus *page, double value)
{
    if (isnan(value))
        fputs("NaN\n", page->out);
    else if (isinf(value))
        fputs(value > 0 ? "+Inf\n" : "-Inf\n", page->out);
    else
        fprintf(page->out, "%.15g\n", value);
}

void prometheus_count(struct prometheus *page, const struct prometheus_label *labels, uint64_t value)
{
    if (page->family == NULL)
        return;
    put_name(page, "", labels, NULL);
    fprintf(page->out, "%" PRIu64 "\n", value);
}

void prometheus_number(struct prometheus *page, const struct prometheus_label *labels, double value)
{
    if (page->family == NULL)
        return;
    put_name(page, "", labels, NULL);
    put_number(page, value);
}

void prometheus_histogram(struct prometheus *page, const struct prometheus_label *labels,
                          const struct prometheus_histogram *h)
{
    if (page->family == NULL)
        return;
    for (size_t i = 0; i <= h->bound_count; i++) {
        char bound[32] = "+Inf";
        if (i < h->bound_count)
            snprintf(bound, sizeof bound, "%g", h->bounds[i]);
        put_name(page, "_bucket", labels, bound);
        fprintf(page->out, "%" PRIu64 "\n", h->within[i]);
    }
    put_name(page, "_sum", labels, NULL);
    put_number(page, h->sum);
    put_name(page, "_count", labels, NULL);
    fprintf(page->out, "%" PRIu64 "\n", h->within[h->bound_count]);
}

void prometheus_rows(struct prometheus *page, const struct prometheus_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        prometheus_family(page, rows[i].name, rows[i].type, rows[i].help);
        prometheus_count(page, NULL, rows[i].value);
    }
}
