/* Inside front/ only: the tokens of the pool - which of them serve, and whether they have the same keys.
 *
 * Every keeper says at its start which keys its token has (keyset.h). The first one that is let in gives the
 * reference; a token whose keeper says something else is kept out: its keepers are let go, the log, the audit
 * log and a metric name the first key that differs, and it is tried again. Only a token that serves may
 * change the reference: at a reload (SIGHUP) the first one in the configuration's order, at other times one
 * that serves alone. So neither a token that was lost nor one that was kept out brings other keys in. With
 * one token nothing is compared. Loop thread and front mutex, as for keepers, unless said otherwise. */
#ifndef POSWARD_HSM_SERVICE_FRONT_POOL_H
#define POSWARD_HSM_SERVICE_FRONT_POOL_H

#include "hsm-service/config.h"
#include "hsm-service/front/breaker.h"

struct front;
struct front_call;
struct prometheus;

#define POOL_DIFFERENCE_BYTES 160

struct front_token {
    struct hsm_token is;
    unsigned ready;                        /* its keepers in KEEPER_READY */
    bool ever_ready, start_failed, halted; /* halted: a wrong PIN; no start until reload */
    struct err start_error;
    unsigned failures; /* starts and short lives in a row */
    int64_t next_start_ms;
    struct breaker breaker;
    bool reported; /* since the last reload a keeper said its keys, or could not start */
    bool kept_out;
    char difference[POOL_DIFFERENCE_BYTES]; /* why */
};

struct front_pool {
    struct front_token tokens[HSM_TOKENS_MOST];
    size_t count;
    char *reference;  /* the keyset of those that serve; NULL: none yet */
    bool settled;     /* since the last reload a keeper was let in */
    int64_t round_ms; /* when that was */
};

void front_pool_init(struct front_pool *pool, const struct hsm_config *config);
void front_pool_drop(struct front_pool *pool);

/* A reload: every token says its keys anew, in the configuration's order. */
void front_pool_reload(struct front_pool *pool, int64_t now_ms);
/* Whether token `index` may start a keeper: the ones before it have said which keys count, or had their time.
 */
bool front_pool_may_start(const struct front_pool *pool, size_t index, int64_t now_ms);
/* Whether `keys` are the reference, or there is nothing to compare: for a keeper that began before a reload,
 * whose word decides nothing. */
bool front_pool_is_reference(const struct front_pool *pool, const char *keys);
/* A keeper of token `index` says `keys`. False: they differ from the reference; `out_difference` says in
 * what. */
bool front_pool_admits(struct front_pool *pool, size_t index, const char *keys,
                       char out_difference[POOL_DIFFERENCE_BYTES]);
/* The first line that two keysets do not share, in words about the first one. */
void front_pool_difference(const char *keys, const char *reference, char out_text[POOL_DIFFERENCE_BYTES]);

/* Some token has a keeper and is not known to be away. */
bool front_pool_serves(const struct front_pool *pool);
/* Calls are taken: some token serves, or has a keeper on its way and its last start did not fail. */
bool front_pool_takes(const struct front_pool *pool);
/* Every token is known to be away, or kept out: nothing waits. */
bool front_pool_is_away(const struct front_pool *pool);
/* No token has a keeper, and each has failed to start one or is kept out. */
bool front_pool_failed(const struct front_pool *pool);
/* ERR_UNSUPPORTED when every token lacks a flow that is wanted: time does not change that. */
enum err_code front_pool_never(const struct front_pool *pool, struct err *e) MUST_CHECK;
/* Why calls are not taken: ERR_UNAVAILABLE. */
enum err_code front_pool_say_away(const struct front_pool *pool, struct err *e);
/* ERR_STATE with more than one token: keys that are changed in one do not change in the others. Any thread;
 * no mutex. */
enum err_code front_pool_may_change_keys(const struct front_pool *pool, struct err *e) MUST_CHECK;
/* Any thread, mutex not held. */
void front_pool_metrics(struct front *f, struct prometheus *page);

#endif
