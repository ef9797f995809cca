/* posward-posp as run/service.h wants it. */
#ifndef POSWARD_POSP_DAEMON_H
#define POSWARD_POSP_DAEMON_H

#include "run/service.h"

extern const struct service_spec posp_service;
/* Who may call what. */
extern const struct roles_row posp_roles[];

#endif
