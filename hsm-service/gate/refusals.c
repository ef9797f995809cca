#include "hsm-service/gate/refusals.h"

#include "base/secret.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "rpc/status.h"

#include <stdlib.h>
#include <string.h>

#define RESULT_TAG       0x0A /* field 1, bytes: ProcessBatchResponse.results */
#define RESULT_BYTES_MAX 320  /* of a refused item: the longest note, two numbers */
#define HEAD_BYTES_MAX   11   /* tag and length of a result */
#define BATCH_RESULTS    1
#define FIRST_CAPACITY   8

void refusals_drop(struct refusals *r)
{
    free(r->items);
    *r = (struct refusals){0};
}

static const struct refusal *find(const struct refusals *r, size_t item)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->items[i].item == item)
            return &r->items[i];
    return NULL;
}

bool refusals_have(const struct refusals *r, uint16_t item)
{
    return find(r, item) != NULL;
}

enum err_code refusals_add(struct refusals *r, uint16_t item, const struct err *why, struct err *e)
{
    if (find(r, item) != NULL)
        return ERR_OK;
    if (r->count == r->capacity) {
        const size_t capacity = r->capacity > 0 ? 2 * r->capacity : FIRST_CAPACITY;
        struct refusal *const items = realloc(r->items, capacity * sizeof *items);
        if (items == NULL)
            return err_set(e, ERR_LIMIT, "no memory for a batch");
        r->items = items;
        r->capacity = capacity;
    }
    r->items[r->count++] = (struct refusal){.item = item, .why = *why};
    return ERR_OK;
}

void refusals_mark(const struct refusals *r, uint8_t *bits)
{
    for (size_t i = 0; i < r->count; i++)
        bits[r->items[i].item / 8] |= (uint8_t)(1U << r->items[i].item % 8);
}

static uint8_t *put_head(uint8_t *at, size_t len)
{
    *at++ = RESULT_TAG;
    for (; len >= 0x80; len >>= 7)
        *at++ = (uint8_t)(len | 0x80);
    *at++ = (uint8_t)len;
    return at;
}

static uint8_t *put_refusal(uint8_t *at, const struct err *why)
{
    char note[sizeof why->note];
    Posward__Hsm__V1__BatchResult result = POSWARD__HSM__V1__BATCH_RESULT__INIT;
    memcpy(note, why->note, sizeof note);
    result.status = rpc_status_of(why->code);
    result.message = note;
    result.retry_ms = why->retry_ms;
    at = put_head(at, posward__hsm__v1__batch_result__get_packed_size(&result));
    return at + posward__hsm__v1__batch_result__pack(&result, at);
}

enum err_code refusals_apply(const struct refusals *r, struct wire_bytes response, uint8_t **out_bytes,
                             size_t *out_len, struct err *e)
{
    const size_t capacity = response.len + r->count * (RESULT_BYTES_MAX + HEAD_BYTES_MAX);
    uint8_t *const bytes = malloc(capacity > 0 ? capacity : 1), *at = bytes;
    size_t item = 0, replaced = 0;
    if (bytes == NULL)
        return err_set(e, ERR_LIMIT, "no memory for an answer");
    for (struct wire_field f; wire_take(&response, &f);) {
        if (f.number != BATCH_RESULTS)
            continue;
        const struct refusal *const refusal = find(r, item++);
        if (refusal != NULL) {
            at = put_refusal(at, &refusal->why);
            replaced++;
            continue;
        }
        at = put_head(at, f.bytes.len);
        if (f.bytes.len > 0)
            memcpy(at, f.bytes.data, f.bytes.len);
        at += f.bytes.len;
    }
    if (replaced != r->count) {
        secret_wipe(bytes, (size_t)(at - bytes));
        free(bytes);
        return err_set(e, ERR_INTERNAL, "a keeper answered a batch without the results of refused items");
    }
    *out_bytes = bytes;
    *out_len = (size_t)(at - bytes);
    return ERR_OK;
}
