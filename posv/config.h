/* posward-posv's configuration; deploy/config/posv.yaml shows every key. */
#ifndef POSWARD_POSV_CONFIG_H
#define POSWARD_POSV_CONFIG_H

#include "run/service.h"

struct posv_config {
    struct service_config service; /* first */
    char *store_path;
    int64_t busy_timeout_ms;
    int64_t heartbeat_ms;
};

extern const struct conf_row posv_config_rows[];

#endif
