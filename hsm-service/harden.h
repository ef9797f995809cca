/* Before a process touches a key: nobody else reads its memory. For keepers and for key ceremonies. */
#ifndef POSWARD_HSM_SERVICE_HARDEN_H
#define POSWARD_HSM_SERVICE_HARDEN_H

#include "base/err.h"

/* No core dump, no ptrace by the same user, no new privileges, all memory locked where the limit allows
 * (struct secret locks its own pages in any case). */
enum err_code harden_process(struct err *e) MUST_CHECK;
/* For a process without keys that sees tracks and PAN: no core dump, no ptrace by the same user. */
enum err_code harden_dumps(struct err *e) MUST_CHECK;

#endif
