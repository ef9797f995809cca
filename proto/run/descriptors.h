/* File descriptors of a daemon: as many as the system allows, and no configuration that needs more. */
#ifndef POSWARD_RUN_DESCRIPTORS_H
#define POSWARD_RUN_DESCRIPTORS_H

#include "base/err.h"

#include <stddef.h>

/* What every daemon has besides: logs, stores, its own calls to others, the metrics endpoint, and connections
 * that came since the last look at how many there are. */
#define DESCRIPTORS_RESERVED 256

/* How many a daemon needs, by the keys of its configuration that say so. */
struct descriptors_need {
    size_t connections; /* limits.max_connections */
    size_t own;         /* of the daemon's own kind; 0: none */
    const char *own_key;
};

/* Raise RLIMIT_NOFILE to the hard limit. ERR_LIMIT, with the figures and what to change, when that is not
 * enough. The processes that are started later inherit it. */
enum err_code descriptors_raise(const struct descriptors_need *need, struct err *e) MUST_CHECK;

#endif
