/* posward-posv as a daemon: store, change feed and registry, put together. */
#ifndef POSWARD_POSV_SERVICE_H
#define POSWARD_POSV_SERVICE_H

#include "run/service.h"

extern const struct service_spec posv_service;
/* Who may call what. */
extern const struct roles_row posv_roles[];

#endif
