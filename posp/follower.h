/* Follows POSV's device table into the store (patent S308). One thread; resumes from the stored revision;
 * POSV away changes nothing but the age of the copy. */
#ifndef POSWARD_POSP_FOLLOWER_H
#define POSWARD_POSP_FOLLOWER_H

#include "posp/store.h"
#include "rpc/client.h"

struct follower;

/* `store` and `channel` (to POSV) are borrowed until follower_free. */
enum err_code follower_start(struct store *store, struct rpc_channel *channel, struct follower **out_follower,
                             struct err *e) MUST_CHECK;
/* The feed is open now. Any thread. */
bool follower_is_following(const struct follower *follower);
/* Joins the thread. Accepts NULL. */
void follower_free(struct follower *follower);

#endif
