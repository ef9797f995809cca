#include "hsm-service/config.h"
#include "hsm-service/front/front.h"
#include "hsm-service/gate/rights.h"

int main(int argc, char **argv)
{
    static const struct service_spec spec = {
        .name = "posward-hsm",
        .summary = "Performs every key operation of the estate in a PKCS#11 token, for clients over gRPC.",
        .rows = hsm_config_rows,
        .config_bytes = sizeof(struct hsm_config),
        .check = hsm_config_check,
        .servers = front_servers,
        .descriptors = hsm_config_descriptors,
        .start = front_start,
        .roles = front_roles,
        .rights = rights_table,
        .granted = front_granted,
        .serve = front_serve,
        .drain = front_drain,
        .reload = front_reload,
        .stop = front_stop,
        .metrics = front_metrics,
        .refused = front_refused,
    };
    return service_main(&spec, argc, argv);
}
