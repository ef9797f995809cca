/* The Prometheus endpoint: GET /metrics over plain HTTP, one page, written anew for each request.
 * Clients that are slow, however many, do not keep a scraper out.
 *
 * It serves counters only; put it on loopback or on a network that scrapers share. */
#ifndef POSWARD_RUN_METRICS_H
#define POSWARD_RUN_METRICS_H

#include "base/err.h"

#include <stdio.h>

struct metrics;

/* Append the page, in Prometheus' text format. Runs on the endpoint's own thread. */
typedef void (*metrics_page_fn)(void *context, FILE *out);

/* Listen at `address`, "127.0.0.1:7101" or "[::1]:7101"; port 0 takes a free one. */
enum err_code metrics_new(const char *address, metrics_page_fn page, void *context,
                          struct metrics **out_metrics, struct err *e) MUST_CHECK;
int metrics_port(const struct metrics *m);
/* Ends the endpoint's thread: `page` does not run any more. Accepts NULL. */
void metrics_free(struct metrics *m);

#endif
