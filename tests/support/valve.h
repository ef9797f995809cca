/* A TCP forwarder on loopback that can lose connections without a word: what comes on them is read and thrown
 * away, as behind a firewall that forgot them. New connections pass. */
#ifndef POSWARD_TESTS_SUPPORT_VALVE_H
#define POSWARD_TESTS_SUPPORT_VALVE_H

#include <stddef.h>

struct valve;

/* Forwards to 127.0.0.1:`port`. Fails the test where it cannot. */
struct valve *valve_open(int port);
int valve_port(const struct valve *valve);
/* Lose the connections of now. Returns once none of their bytes passes any more. */
void valve_lose(struct valve *valve);
/* Connections that were made, and those that the client has not closed. */
size_t valve_made(struct valve *valve);
size_t valve_held(struct valve *valve);
void valve_close(struct valve *valve);

#endif
