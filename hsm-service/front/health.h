/* Inside front/ only: are the tokens well? Probes, their breakers, keepers' memory, and what keepers say of
 * themselves. Loop thread, mutex held, unless said otherwise. */
#ifndef POSWARD_HSM_SERVICE_FRONT_HEALTH_H
#define POSWARD_HSM_SERVICE_FRONT_HEALTH_H

#include "hsm-service/ipc.h"

#include <stdbool.h>

struct front;
struct front_keeper;
struct front_token;
struct prometheus;

/* In the order of IPC_HEALTH_BYTES. */
enum health_value {
    HEALTH_SESSIONS,
    HEALTH_IDLE,
    HEALTH_RELOGINS,
    HEALTH_REINITIALISED,
    HEALTH_CACHED,
    HEALTH_ROOM,
    HEALTH_HITS,
    HEALTH_MISSES,
    HEALTH_COUNT
};

/* A keeper of the token answered a gRPC call. */
void front_health_answered(struct front *f, struct front_token *t, const struct ipc_frame *frame);
/* A keeper of it became ready; or none could be started and none is there. */
void front_health_ready(struct front *f, struct front_token *t);
void front_health_no_keeper(struct front *f, struct front_token *t, const char *why);
/* A keeper ended: its counts stay. */
void front_health_ended(struct front *f, const struct front_keeper *k);
/* Probe what is due, retire what grew too large. */
void front_health_tick(struct front *f, int64_t now_ms);
/* What gRPC health says. */
bool front_health_serving(const struct front *f);
/* Any thread, mutex not held. */
void front_health_metrics(struct front *f, struct prometheus *page);

#endif
