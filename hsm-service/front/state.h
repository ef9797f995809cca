/* Inside front/ only: calls, keepers and who may touch them.
 *
 * One mutex guards all of it. Calls arrive on gRPC's I/O threads (dispatch.c); everything else happens on the
 * loop thread (loop.c), which alone starts, reads and ends keepers. No gRPC call is finished with the mutex
 * held. */
#ifndef POSWARD_HSM_SERVICE_FRONT_STATE_H
#define POSWARD_HSM_SERVICE_FRONT_STATE_H

#include "hsm-service/config.h"
#include "hsm-service/front/ask.h"
#include "hsm-service/front/audit.h"
#include "hsm-service/front/health.h"
#include "hsm-service/front/manage.h"
#include "hsm-service/front/operations.h"
#include "hsm-service/front/pool.h"
#include "hsm-service/gate/admit.h"
#include "hsm-service/ipc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/types.h>

/* A call that was with keepers when they died is given up at this much blame: two crashes or hangs, or six
 * keepers that somebody killed, which is rarely the call's doing. */
#define FRONT_BLAME_MOST   6
#define FRONT_BLAME_CRASH  3
#define FRONT_BLAME_KILLED 1
#define FRONT_BLAME_NONE   0 /* it ended by itself, since its token was lost */
/* A call is tried so often again when its keeper finds the token away. */
#define FRONT_AWAY_MOST 2
/* Keepers, each with a successor, and some that are on their way out. */
#define FRONT_KEEPERS (2 * HSM_KEEPERS_MOST + 8)

/* A gRPC call that waits for a keeper or is with one. */
struct front_call {
    TAILQ_ENTRY(front_call) link; /* in front.waiting, or in the keeper's calls */
    struct rpc_call *rpc;         /* NULL: answered already (deadline); the keeper is still at it */
    front_asked_fn asked;         /* ask.h; then rpc is NULL from the start, and it never waits */
    void *asked_context;
    uint64_t id;
    int64_t deadline_ms, sent_ms;
    unsigned blame;
    unsigned away;        /* tries that found the token away */
    unsigned last_keeper; /* which one was at it: another is asked first */
    unsigned tokens;      /* bit n: token n lost it or was away. One that did not is asked first */
    struct err outcome;   /* what to answer when it fails */
    uint8_t *packet;
    size_t packet_len;
    /* Of a gRPC call that keepers get; they point into the packet. */
    struct ipc_frame request;
    struct facts facts;
    struct refusals refusals;
};
TAILQ_HEAD(front_calls, front_call);

enum keeper_state {
    KEEPER_NONE,     /* the slot is free */
    KEEPER_STARTING, /* logs in, tries the token, loads keys */
    KEEPER_READY,    /* takes calls */
    KEEPER_RETIRING, /* finishes what it has */
    KEEPER_ENDING    /* its socket is closed; to be waited for, killed if it stays */
};

struct front_keeper {
    enum keeper_state state;
    bool stale;     /* ready, but to be replaced: retirement or reload */
    bool broken;    /* did not take a packet, or its token failed a probe: it is replaced */
    unsigned token; /* of the pool: its index */
    pid_t pid;
    int fd;
    unsigned number; /* counts starts: tells keepers apart in logs */
    unsigned epoch;  /* reloads before its start: which keys it knows */
    unsigned load;   /* calls in `calls` */
    uint64_t operations;
    int64_t since_ms; /* of the state */
    bool probing;     /* health.c, as the rest */
    int64_t probed_ms;
    uint64_t health[HEALTH_COUNT], resident_mib;
    struct front_calls calls;
};

struct front {
    const struct hsm_config *config;
    struct rpc_server *const *servers; /* by enum front_plane */
    struct front_audit *audit;         /* NULL: none */
    struct roles *roles;               /* who may do what; set before calls come */
    struct admit *admit;
    struct front_operations *kinds;
    struct manage *manage;
    atomic_bool in_token; /* policy.exposure as it applies now: the stricter of configuration and policy */
    int64_t start_ms;
    _Atomic uint64_t next_id;
    int wake_fd; /* eventfd: the loop looks again */
    pthread_t loop;
    bool loop_runs;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a keeper became ready, or its start failed */
    struct front_calls waiting;
    struct front_keeper keepers[FRONT_KEEPERS];
    unsigned window; /* calls given to one keeper at a time */
    unsigned next_number;
    unsigned ready; /* keepers in KEEPER_READY, of all tokens */
    bool reload, stopping, draining;
    unsigned epoch;   /* reloads so far */
    unsigned serving; /* keepers of this epoch, and no others, take calls */

    uint64_t restarts, retirements, retried, operations;

    struct front_pool pool;
    int64_t weighed_ms;                  /* keepers' memory was looked at */
    uint64_t ended_health[HEALTH_COUNT]; /* of keepers that are gone */
};

/* ---- dispatch.c ---- */

/* Take a call in: to a keeper, to the queue, or refused. Any thread, mutex not held. */
void front_take(struct front *f, struct rpc_call *rpc, uint16_t method, const uint8_t *body, size_t len);
/* Give waiting calls to keepers that have room. Mutex held, as for all below; calls to be answered with their
 * outcome go to `out_failed`. */
void front_pump(struct front *f, struct front_calls *out_failed);
/* The call that a keeper answers, taken off it; NULL when it has no such call. */
struct front_call *front_answered(struct front_keeper *k, uint64_t id);
/* The keeper found the token away: back into the queue, to be tried again. False: it has been often enough.
 */
bool front_try_again(struct front *f, struct front_call *call, const struct front_keeper *k);
/* Calls of a dead keeper go back to the head of the queue, or fail at FRONT_BLAME_MOST. Those sent before
 * `blamed_before_ms` take `blame`. */
void front_orphan(struct front *f, struct front_keeper *k, unsigned blame, int64_t blamed_before_ms,
                  struct front_calls *out_failed);
/* Answer calls past their deadline or whose client went away. */
void front_expire(struct front *f, int64_t now_ms, struct front_calls *out_failed);
/* Without a keeper in sight nothing waits: the whole queue fails. */
void front_flush(struct front *f, struct front_calls *out_failed);
/* Mutex not held: answer and free. */
void front_answer_failed(struct front *f, struct front_calls *failed);
void front_call_free(struct front_call *call);

/* ---- choose.c: mutex held ---- */

/* The ready keeper with the fewest calls, of a token that is not away, that has room for one more; NULL:
 * none. One on a token where `call` did not fail goes first. */
struct front_keeper *front_least_loaded(struct front *f, const struct front_call *call);
/* The same for a question of the front's own, which does not queue: with or without room. */
struct front_keeper *front_least_busy(struct front *f);
/* Why no keeper is there, for a caller: ERR_UNAVAILABLE. */
enum err_code front_say_unavailable(const struct front *f, struct err *e);

/* ---- keepers.c: loop thread, mutex held ---- */

/* Start, replace and retire as the configuration wants; kill what hangs; wait for what ended. */
void front_keepers_tend(struct front *f, int64_t now_ms, struct front_calls *out_failed);
/* Close the sockets of all, for the end. */
void front_keepers_release(struct front *f);
bool front_keepers_gone(const struct front *f);

/* ---- keeper_life.c: as keepers.c ---- */

/* What a keeper said at its start. */
void front_keeper_ready(struct front *f, struct front_keeper *k, const struct ipc_frame *frame,
                        struct front_calls *out_failed);
void front_keeper_start_failed(struct front *f, struct front_keeper *k, const struct ipc_frame *frame,
                               struct front_calls *out_failed);
/* What a keeper has to say besides: into the log and the audit log. */
void front_keeper_notice(struct front *f, const struct front_keeper *k, const struct ipc_frame *frame);
/* The socket closed or spoke nonsense. */
void front_keeper_lost(struct front *f, struct front_keeper *k, const char *reason,
                       struct front_calls *out_failed);

/* ---- loop.c ---- */

enum err_code front_loop_start(struct front *f, struct err *e) MUST_CHECK;
void front_loop_join(struct front *f);
void front_wake(struct front *f);

/* ---- spawn.c ---- */

/* Start this binary as a keeper of `token` with `fd` as its end of the socket pair. */
enum err_code front_spawn(const struct front *f, const struct hsm_token *token, int fd, pid_t *out_pid,
                          struct err *e) MUST_CHECK;

#endif
