#include "hsm-service/front/release.h"

#include "base/secret.h"
#include "hsm-service/front/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct release release_view(const struct ipc_frame *frame)
{
    struct release r = {.failed = frame->kind != IPC_RESPONSE};
    if (r.failed)
        (void)ipc_failure(frame, &r.failure);
    else
        r.body = (struct wire_bytes){frame->body, frame->body_len};
    return r;
}

void front_record_items(struct front *f, const struct front_call *call, const struct err *first, size_t count)
{
    struct err why = *first;
    const size_t at = strlen(why.note);
    if (count > 1)
        snprintf(why.note + at, sizeof why.note - at, "; %zu items of this batch", count);
    front_audit_refusal(f->audit, &call->request, &why);
}

/* The results of refused items are replaced; the whole answer fails where that cannot be done. */
static void replace_items(struct front_call *call, struct release *r)
{
    size_t len = 0;
    if (call->refusals.count == 0 || r->failed)
        return;
    if (refusals_apply(&call->refusals, r->body, &r->own, &len, &r->failure) == ERR_OK) {
        r->body = (struct wire_bytes){r->own, len};
    } else {
        r->failed = true;
        r->body = (struct wire_bytes){0};
    }
}

struct release release_answer(struct front *f, struct front_call *call, const struct ipc_frame *frame)
{
    struct release r = release_view(frame);
    const struct admit_caller caller = {call->request.identity, call->request.identity_len};
    struct admit_told told;
    struct err e = {0};
    const enum err_code code =
        admit_answer(f->admit, &caller, &call->facts, frame, &call->refusals, &told, &e);
    if (told.count > 0)
        front_record_items(f, call, &told.first, told.count);
    if (code != ERR_OK) {
        front_audit_refusal(f->audit, &call->request, &e);
        r = (struct release){.failed = true, .failure = e, .told = code == ERR_LIMIT};
    }
    replace_items(call, &r);
    return r;
}

void release_drop(struct release *r)
{
    if (r->own != NULL)
        secret_wipe(r->own, r->body.len);
    free(r->own);
    *r = (struct release){0};
}
