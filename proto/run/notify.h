/* systemd's readiness protocol: one datagram to the socket named by $NOTIFY_SOCKET (sd_notify(3)). */
#ifndef POSWARD_RUN_NOTIFY_H
#define POSWARD_RUN_NOTIFY_H

#include "base/err.h"

/* Send "READY=1", "STOPPING=1" or another state. Without $NOTIFY_SOCKET nothing is sent and that is ERR_OK.
 * ERR_IO: the socket is named but does not take it. Any thread. */
enum err_code notify_send(const char *state, struct err *e) MUST_CHECK;

#endif
