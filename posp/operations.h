/* gRPC service posward.posp.v1.Operations, and the daemon's metrics. */
#ifndef POSWARD_POSP_OPERATIONS_H
#define POSWARD_POSP_OPERATIONS_H

#include "posp/posp.h"
#include "posward/posp/v1/posp.pb-c.h"
#include "run/prometheus.h"

struct operations {
    Posward__Posp__V1__Operations_Service service; /* first: handlers get a pointer to it */
    struct posp *posp;
};

/* Add &out_operations->service.base to a server; `posp` and `out_operations` outlive the server. */
void operations_init(struct posp *posp, struct operations *out_operations);

/* The front end's own families. */
void operations_metrics(struct posp *posp, struct prometheus *page);

#endif
