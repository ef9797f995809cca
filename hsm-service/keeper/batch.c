#include "base/clock.h"
#include "base/trace.h"
#include "hsm-service/keeper/cases.h"
#include "hsm-service/keeper/convert.h"
#include "rpc/status.h"

#include <string.h>

#define ITEMS_MOST 256

typedef Posward__Hsm__V1__BatchItem HsmBatchItem;
typedef Posward__Hsm__V1__BatchResult HsmBatchResult;

/* One row an operation; the union members of an item and of a result are pointers, so one stands for all. */
static const struct batch_row {
    Posward__Hsm__V1__BatchItem__OperationCase operation;
    Posward__Hsm__V1__BatchResult__ResultCase result;
    struct keeper_use use;
} rows[] = {
    {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_MAC,
     POSWARD__HSM__V1__BATCH_RESULT__RESULT_GENERATE_MAC,
     {case_generate_mac, &posward__hsm__v1__generate_mac_response__descriptor, true}},
    {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_VERIFY_MAC,
     POSWARD__HSM__V1__BATCH_RESULT__RESULT_VERIFY_MAC,
     {case_verify_mac, &posward__hsm__v1__verify_mac_response__descriptor, true}},
    {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_TRANSLATE_PIN,
     POSWARD__HSM__V1__BATCH_RESULT__RESULT_TRANSLATE_PIN,
     {case_translate_pin, &posward__hsm__v1__translate_pin_response__descriptor, true}},
    {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_ENCRYPT_DATA,
     POSWARD__HSM__V1__BATCH_RESULT__RESULT_ENCRYPT_DATA,
     {case_encrypt, &posward__hsm__v1__encrypt_data_response__descriptor, true}},
    {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_DECRYPT_DATA,
     POSWARD__HSM__V1__BATCH_RESULT__RESULT_DECRYPT_DATA,
     {case_decrypt, &posward__hsm__v1__decrypt_data_response__descriptor, true}},
    {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_PROCESS_TRANSACTION,
     POSWARD__HSM__V1__BATCH_RESULT__RESULT_PROCESS_TRANSACTION,
     {case_transaction, &posward__hsm__v1__process_transaction_response__descriptor, true}},
    {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_WORKING_KEYS,
     POSWARD__HSM__V1__BATCH_RESULT__RESULT_GENERATE_WORKING_KEYS,
     {case_working_keys, &posward__hsm__v1__generate_working_keys_response__descriptor, true}},
};

static const struct batch_row *find_row(const HsmBatchItem *item)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].operation == item->operation_case && item->generate_mac != NULL)
            return &rows[i];
    return NULL;
}

static enum err_code run_item(struct keeper_call *call, const HsmBatchItem *item, HsmBatchResult *out,
                              struct err *e)
{
    const struct batch_row *const row = find_row(item);
    ProtobufCMessage *answer = NULL;
    if (row == NULL)
        return err_set(e, ERR_INPUT, "the item names no operation");
    if (clock_monotonic_ms() >= call->deadline_ms) /* nobody waits for it; a long batch is not a hung call */
        return err_set(e, ERR_TIMEOUT, "the deadline passed before this item's turn");
    TRY(case_run(call, &row->use, &item->generate_mac->base, &answer, e));
    out->result_case = row->result;
    out->generate_mac = (HsmMacResponse *)answer;
    return ERR_OK;
}

static enum err_code run_traced_item(struct keeper_call *call, const HsmBatchItem *item, HsmBatchResult *out,
                                     struct err *e)
{
    const struct trace own = trace_parse(item->traceparent, strlen(item->traceparent));
    const struct trace before = trace_enter(own.parent[0] != '\0' ? own : trace_current());
    const enum err_code code = run_item(call, item, out, e);
    (void)trace_enter(before);
    return code;
}

/* An item's failure is its own. */
static enum err_code answer_item(struct keeper_call *call, const HsmBatchItem *item, HsmBatchResult *out,
                                 struct err *e)
{
    struct err item_e = {0};
    if (run_traced_item(call, item, out, &item_e) == ERR_OK)
        return ERR_OK;
    out->status = rpc_status_of(item_e.code);
    return arena_text(call->arena, item_e.note, &out->message, e);
}

static bool is_refused(const struct keeper_call *call, size_t index)
{
    return call->refused != NULL && (call->refused[index / 8] >> index % 8 & 1) != 0;
}

enum err_code case_batch(struct keeper_call *call, const ProtobufCMessage *request,
                         ProtobufCMessage *response, struct err *e)
{
    const HsmBatchRequest *const in = (const HsmBatchRequest *)request;
    HsmBatchResponse *const out = (HsmBatchResponse *)response;
    if (in->n_items < 1 || in->n_items > ITEMS_MOST)
        return err_set(e, ERR_INPUT, "items has %zu operations; it must have 1 to %d", in->n_items,
                       ITEMS_MOST);
    HsmBatchResult **const results = arena_take(call->arena, in->n_items * sizeof(HsmBatchResult *));
    if (results == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    for (size_t i = 0; i < in->n_items; i++) {
        ProtobufCMessage *result = NULL;
        TRY(case_message(call, &posward__hsm__v1__batch_result__descriptor, &result, e));
        results[i] = (HsmBatchResult *)result;
        call->item = (uint16_t)i;
        if (!is_refused(call, i)) /* whoever refused it says why in its result */
            TRY(answer_item(call, in->items[i], results[i], e));
    }
    out->n_results = in->n_items;
    out->results = results;
    return ERR_OK;
}
