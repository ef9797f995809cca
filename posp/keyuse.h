/* Tells the HSM service how many cards and blobs depend on which of the token's keys (ReportKeyUse), so that
 * it refuses to destroy one in use: at start, soon after changes, and every hsm.report_period_ms. One thread;
 * a service that is away or keeps no register costs one log line. */
#ifndef POSWARD_POSP_KEYUSE_H
#define POSWARD_POSP_KEYUSE_H

#include "posp/posp.h"

/* `posp` is borrowed until keyuse_free. */
enum err_code keyuse_start(struct posp *posp, struct keyuse **out_keyuse, struct err *e) MUST_CHECK;
/* Cards or blobs changed: report soon. Any thread. Accepts NULL. */
void keyuse_changed(struct keyuse *keyuse);
/* Joins the thread. Accepts NULL. */
void keyuse_free(struct keyuse *keyuse);

#endif
