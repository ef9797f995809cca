/* What the parts of the front end share: one struct posp a process, made by daemon.c. */
#ifndef POSWARD_POSP_POSP_H
#define POSWARD_POSP_POSP_H

#include "posp/config.h"
#include "posp/hsm.h"
#include "posp/journal.h"
#include "posp/units.h"

#include <pthread.h>
#include <stdatomic.h>

struct follower;
struct keyuse;
struct listener;
struct reseal;
struct reversals;

/* Reference numbers that were taken from the store and not used yet. */
struct numbers {
    pthread_mutex_t lock;
    int64_t next, end;
};

struct posp {
    const struct posp_config *config;
    const struct iso_dialect *dialect;
    struct store *store;
    struct rpc_channel *hsm_channel, *posv_channel;
    struct hsm *hsm;
    struct units *units;
    struct follower *follower;
    struct reversals *reversals;
    struct keyuse *keyuse;
    struct reseal *reseal;
    struct listener *listener;
    struct numbers numbers;
    int64_t started_ms; /* monotonic */
    _Atomic uint64_t sign_ins, messages;
    _Atomic int64_t repeats_waiting; /* workers that wait for the first of a pair */
};

/* Response codes, field 39. Source: UnionPay POS. */
#define F39_APPROVED       "00"
#define F39_MERCHANT       "03"
#define F39_INVALID        "12"
#define F39_AMOUNT         "13"
#define F39_CARD           "14"
#define F39_FORMAT         "30"
#define F39_NOT_HERE       "58" /* not permitted at this terminal */
#define F39_ISSUER_AWAY    "91"
#define F39_NO_ROUTE       "92"
#define F39_DUPLICATE      "94"
#define F39_FAULT          "96"
#define F39_NOT_REGISTERED "97"
#define F39_NO_ANSWER      "98"
#define F39_PIN_FORMAT     "99" /* sign in again: other working keys are needed */
#define F39_PIN_TRIES      "75" /* the HSM service counts too many PIN operations of the terminal or account */
#define F39_MAC            "A0" /* sign in again */
#define F39_SECURITY       "A7" /* to be fixed here or in the terminal: trying again does not help */

#endif
