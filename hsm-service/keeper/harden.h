/* Before a keeper touches a key: nobody else reads its memory. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_HARDEN_H
#define POSWARD_HSM_SERVICE_KEEPER_HARDEN_H

#include "base/err.h"

/* No core dump, no ptrace by the same user, no new privileges, no descriptors but 0-3, all memory locked where the
 * limit allows (struct secret locks its own pages in any case). */
enum err_code keeper_harden(struct err *e) MUST_CHECK;

#endif
