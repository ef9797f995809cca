/* The one way in which metrics become text: families with HELP and TYPE in front, samples escaped.
 *
 * A page is written by one thread, from top to bottom: a family, all of its samples, the next family. A
 * family that is opened twice on one page, or a name that is none, is left out and logged: one broken family
 * must not make a scraper drop the page.
 * Source: Prometheus exposition formats, text format 0.0.4. */
#ifndef POSWARD_RUN_PROMETHEUS_H
#define POSWARD_RUN_PROMETHEUS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum prometheus_type { PROMETHEUS_COUNTER, PROMETHEUS_GAUGE, PROMETHEUS_HISTOGRAM };

#define PROMETHEUS_FAMILIES_MOST 256

struct prometheus {
    FILE *out;
    const char *family;                          /* the open one; NULL: its samples are left out */
    const char *names[PROMETHEUS_FAMILIES_MOST]; /* borrowed until the page is done */
    size_t count;
};

/* name="value"; a list ends with a label without a name. */
struct prometheus_label {
    const char *name, *value;
};

/* Counters end in _total, times are in _seconds; `name` is [a-zA-Z_:][a-zA-Z0-9_:]*, `help` one sentence. */
void prometheus_family(struct prometheus *page, const char *name, enum prometheus_type type,
                       const char *help);
/* Of the open family; `labels` NULL: none. */
void prometheus_count(struct prometheus *page, const struct prometheus_label *labels, uint64_t value);
void prometheus_number(struct prometheus *page, const struct prometheus_label *labels, double value);

/* One histogram of the open family. `within` has a cumulated count for each of `bounds`, and behind them that
 * of all observations. */
struct prometheus_histogram {
    const double *bounds;
    size_t bound_count;
    const uint64_t *within;
    double sum;
};
void prometheus_histogram(struct prometheus *page, const struct prometheus_label *labels,
                          const struct prometheus_histogram *histogram);

/* Families of one sample without labels, as tables have them. */
struct prometheus_row {
    const char *name;
    enum prometheus_type type; /* not a histogram */
    const char *help;
    uint64_t value;
};
void prometheus_rows(struct prometheus *page, const struct prometheus_row *rows, size_t count);

#endif
