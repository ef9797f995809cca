/* Ways are tried on the token, with throw-away keys. */
#ifndef POSWARD_P11_PROBE_PROBE_H
#define POSWARD_P11_PROBE_PROBE_H

#include "p11/flow/way.h"

/* Try every way. After tok_open, before any flow; needs no posward key. */
enum err_code tok_ways_probe(struct tok *tok, enum tok_exposure exposure, struct err *e) MUST_CHECK;

#endif
