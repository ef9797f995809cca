/* The command line of a daemon. Internal to service.c. */
#ifndef POSWARD_RUN_SERVICE_OPTIONS_H
#define POSWARD_RUN_SERVICE_OPTIONS_H

#include "run/service.h"

#define SERVICE_EXIT_USAGE 2

struct service_options {
    const char *config_path; /* NULL: fallbacks only */
    bool check_config;
};

/* True: go on. False: the answer is printed; leave with *out_status. */
bool service_options_read(const struct service_spec *spec, int argc, char **argv,
                          struct service_options *out_options, int *out_status);

#endif
