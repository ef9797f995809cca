/* Where terminals connect: ISO 8583 frames over TCP, on an event loop thread of its own (libuv).
 *
 * Each frame is worked on by a pool of threads and answered in the order of completion; a terminal that sends
 * several without waiting gets as many answers. What a connection may hold is bounded: LISTENER_PIPELINE
 * messages that are not answered yet (then it is not read from), one message of limit length in the buffer,
 * and time. A connection that dies loses nothing but the way of its answers: the work is done and journaled.
 */
#ifndef POSWARD_POSP_LISTENER_H
#define POSWARD_POSP_LISTENER_H

#include "posp/posp.h"

#define LISTENER_PIPELINE 8

struct listener;

/* The form of terminals.listen: ERR_INPUT unless it is an IP address and a port. */
enum err_code listener_check(const char *address, struct err *e) MUST_CHECK;
/* `posp` is borrowed until listener_free. ERR_IO the address is taken; ERR_INPUT it is none. */
enum err_code listener_start(struct posp *posp, struct listener **out_listener, struct err *e) MUST_CHECK;
/* The port that is listened on. */
int listener_port(const struct listener *listener);
/* Terminals connected now. Any thread. */
unsigned listener_connections(const struct listener *listener);
/* Connections that were closed for breaking the rules of the line, since start. Any thread. */
uint64_t listener_dropped(const struct listener *listener);
/* No new connections; close each when its messages are answered, all after `grace_ms`; join. Once. */
void listener_stop(struct listener *listener, int64_t grace_ms);
/* After listener_stop. Accepts NULL. */
void listener_free(struct listener *listener);

#endif
