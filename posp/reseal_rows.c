#include "posp/reseal_rows.h"

#include "base/log.h"
#include "posp/keyuse.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "rpc/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOBS_MOST ((size_t)RESEAL_ROWS_MOST * STORE_SEALED_BLOBS)
#define TIMEOUT_MS 30000 /* nobody at a terminal waits for it */

typedef Posward__Hsm__V1__ResealResult Result;

struct round {
    const struct store_sealed *rows;
    size_t count;
    struct reseal_counts *counts;
    ProtobufCBinaryData blobs[BLOBS_MOST]; /* borrowed from the rows */
    size_t blob_count;
    struct store_swap swaps[RESEAL_ROWS_MOST];
    uint64_t moved[RESEAL_ROWS_MOST]; /* of each swap: blobs that changed */
    size_t swap_count;
};

static bool seal_known(struct store_seal seal)
{
    return seal.storage != 0 && seal.tag != 0;
}

static bool seal_same(struct store_seal a, struct store_seal b)
{
    return a.storage == b.storage && a.tag == b.tag;
}

static bool is_settled(const struct store_sealed *row, const struct reseal_counts *counts)
{
    return seal_known(counts->newest) && seal_same(row->seal, counts->newest);
}

static void gather(struct round *r)
{
    for (size_t i = 0; i < r->count; i++)
        for (size_t k = 0; k < STORE_SEALED_BLOBS; k++) {
            const struct store_blob *const blob = &r->rows[i].blobs[k];
            if (blob->len == 0)
                continue;
            if (is_settled(&r->rows[i], r->counts)) {
                r->counts->scanned++;
                r->counts->already++;
            } else {
                r->blobs[r->blob_count++] =
                    (ProtobufCBinaryData){.len = blob->len, .data = (uint8_t *)(uintptr_t)blob->bytes};
            }
        }
}

/* What came back for one row. */
struct row_outcome {
    uint64_t moved, kept, stuck, failed;
    struct store_seal seal;
    bool mixed; /* blobs are not all under the same keys */
};

static void join_seal(struct row_outcome *o, const Result *result)
{
    const struct store_seal one = {result->storage_version, result->tag_version};
    if (o->moved + o->kept > 0 && !seal_same(o->seal, one))
        o->mixed = true;
    o->seal = one;
}

/* Keepers take new keys one after the other: the newest that any of them names counts. */
static void learn_newest(struct reseal_counts *counts, const Result *result)
{
    if (result->storage_version > counts->newest.storage)
        counts->newest.storage = result->storage_version;
    if (result->tag_version > counts->newest.tag)
        counts->newest.tag = result->tag_version;
}

static void note_failure(struct reseal_counts *counts, const struct store_sealed *row, const char *why)
{
    if (counts->first_failure[0] != '\0')
        return;
    snprintf(counts->first_failure, sizeof counts->first_failure, "%s %s: %.140s",
             row->kind == STORE_SEALED_CARD ? "card" : "terminal", row->name, why);
    log_event(LOG_WARN, "a key blob cannot be re-sealed", LOG_STR("of", row->name), LOG_STR("note", why));
}

static void take_result(struct round *r, const struct store_sealed *row, const Result *result,
                        struct store_blob *blob, struct row_outcome *o)
{
    if (result->status == 0 && result->blob.len > 0 && result->blob.len <= sizeof blob->bytes) {
        join_seal(o, result);
        learn_newest(r->counts, result);
        memcpy(blob->bytes, result->blob.data, result->blob.len);
        blob->len = result->blob.len;
        *(result->changed ? &o->moved : &o->kept) += 1;
    } else if (rpc_status_class(result->status) == ERR_UNSUPPORTED) {
        o->stuck++;
    } else {
        o->failed++;
        note_failure(r->counts, row, result->message != NULL ? result->message : "");
    }
}

static void add_outcome(struct reseal_counts *counts, const struct row_outcome *o)
{
    const uint64_t all = o->moved + o->kept + o->stuck + o->failed;
    counts->scanned += all;
    counts->sent += all;
    counts->resealed += o->moved;
    counts->already += o->kept;
    counts->must_sign_in += o->stuck;
    counts->failed += o->failed;
}

/* Also a row whose versions nobody knew, from before they were kept: its blobs are as they were. */
static void plan_swap(struct round *r, const struct store_sealed *row, const struct store_swap *swap,
                      const struct row_outcome *o)
{
    const bool whole = !o->mixed && o->stuck + o->failed == 0;
    if (o->moved == 0 && (!whole || seal_same(o->seal, row->seal)))
        return;
    r->swaps[r->swap_count] = *swap;
    r->swaps[r->swap_count].seal = whole ? o->seal : (struct store_seal){0};
    r->moved[r->swap_count++] = o->moved;
}

static void take_row(struct round *r, size_t at, Result *const **results, bool *out_stuck)
{
    const struct store_sealed *const row = &r->rows[at];
    struct store_swap swap = {.old = row};
    struct row_outcome o = {0};
    memcpy(swap.blobs, row->blobs, sizeof swap.blobs);
    for (size_t k = 0; k < STORE_SEALED_BLOBS; k++)
        if (row->blobs[k].len > 0)
            take_result(r, row, *(*results)++, &swap.blobs[k], &o);
    add_outcome(r->counts, &o);
    plan_swap(r, row, &swap, &o);
    if (out_stuck != NULL)
        out_stuck[at] = o.stuck > 0;
}

static enum err_code ask(struct posp *posp, struct round *r,
                         Posward__Hsm__V1__ResealBlobsResponse **out_response, struct err *e)
{
    Posward__Hsm__V1__ResealBlobsRequest request = POSWARD__HSM__V1__RESEAL_BLOBS_REQUEST__INIT;
    const struct rpc_call_options options = {.timeout_ms = TIMEOUT_MS, .idempotent = true, .traceparent = ""};
    ProtobufCMessage *message = NULL;
    request.n_blobs = r->blob_count;
    request.blobs = r->blobs;
    TRY(rpc_unary(posp->hsm_channel, &posward__hsm__v1__data_plane__descriptor, "ResealBlobs", &request.base,
                  &options, &message, e));
    Posward__Hsm__V1__ResealBlobsResponse *const response = (Posward__Hsm__V1__ResealBlobsResponse *)message;
    if (response->n_results != r->blob_count) {
        const size_t got = response->n_results;
        protobuf_c_message_free_unpacked(message, NULL);
        return err_set(e, ERR_INTERNAL, "hsm: %zu results for %zu blobs", got, r->blob_count);
    }
    *out_response = response;
    return ERR_OK;
}

static enum err_code keep(struct posp *posp, struct round *r, struct err *e)
{
    TRY(store_sealed_swap(posp->store, r->swaps, r->swap_count, e));
    for (size_t i = 0; i < r->swap_count; i++)
        if (!r->swaps[i].swapped) {
            r->counts->resealed -= r->moved[i];
            r->counts->replaced += r->moved[i];
        }
    if (r->swap_count > 0)
        keyuse_changed(posp->keyuse);
    return ERR_OK;
}

static enum err_code run_round(struct posp *posp, struct round *r, bool *out_stuck, struct err *e)
{
    bool settled[RESEAL_ROWS_MOST];
    for (size_t i = 0; i < r->count; i++)
        settled[i] = is_settled(&r->rows[i], r->counts);
    gather(r);
    if (r->blob_count == 0)
        return ERR_OK;
    Posward__Hsm__V1__ResealBlobsResponse *response = NULL;
    TRY(ask(posp, r, &response, e));
    Result *const *results = response->results;
    for (size_t i = 0; i < r->count; i++)
        if (!settled[i])
            take_row(r, i, &results, out_stuck);
    const enum err_code code = keep(posp, r, e);
    posward__hsm__v1__reseal_blobs_response__free_unpacked(response, NULL);
    return code;
}

enum err_code reseal_rows(struct posp *posp, const struct store_sealed *rows, size_t count,
                          struct reseal_counts *counts, bool *out_stuck, struct err *e)
{
    if (count > RESEAL_ROWS_MOST)
        return err_set(e, ERR_INPUT, "%zu rows to re-seal at once", count);
    struct reseal_counts after = *counts;
    struct round *const r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    r->rows = rows;
    r->count = count;
    r->counts = &after;
    if (out_stuck != NULL)
        memset(out_stuck, 0, count * sizeof *out_stuck);
    const enum err_code code = run_round(posp, r, out_stuck, e);
    free(r);
    if (code == ERR_OK)
        *counts = after;
    return code;
}
