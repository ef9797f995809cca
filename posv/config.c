#include "posv/config.h"

#include <stddef.h>

const struct conf_row posv_config_rows[] = {
    SERVICE_CONFIG_ROWS("127.0.0.1:7003", "127.0.0.1:7103"),
    {.key = "store.path",
     .type = CONF_STRING,
     .offset = offsetof(struct posv_config, store_path),
     .fallback = "/var/lib/posward/posv.db",
     .required = true,
     .help = "SQLite file of the device table; made when it is missing. One service a file."},
    {.key = "store.busy_timeout_ms",
     .type = CONF_INT,
     .offset = offsetof(struct posv_config, busy_timeout_ms),
     .fallback = "5000",
     .least = 0,
     .most = 60000,
     .help = "How long a statement waits for another process, such as a backup, to let go of the file."},
    {.key = "watch.heartbeat_ms",
     .type = CONF_INT,
     .offset = offsetof(struct posv_config, heartbeat_ms),
     .fallback = "2000",
     .least = 100,
     .most = 600000,
     .help = "How often a watcher hears from us when no device changes. POSP notices after a little more "
             "than twice this time that its feed is dead."},
    CONF_END,
};
