/* "host:port" to a connected or listening TCP socket, for card lines. IPv6 hosts stand in brackets. */
#ifndef POSWARD_APDU_ADDRESS_H
#define POSWARD_APDU_ADDRESS_H

#include "base/err.h"

/* ERR_INPUT not host:port; ERR_UNAVAILABLE nobody there. The caller closes *out_fd. */
enum err_code address_connect(const char *address, int timeout_ms, int *out_fd, struct err *e) MUST_CHECK;
/* Listen; port 0 picks one. *out_port is the port that it became. ERR_UNAVAILABLE the port is taken. */
enum err_code address_listen(const char *address, int *out_fd, int *out_port, struct err *e) MUST_CHECK;

#endif
