#include "posp/operations.h"

#include "base/clock.h"
#include "base/log.h"
#include "posp/follower.h"
#include "posp/listener.h"
#include "posp/reseal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LIST_DEFAULT 20
#define LIST_MAX     1000

static struct posp *posp_of(Posward__Posp__V1__Operations_Service *service)
{
    return ((struct operations *)service)->posp;
}

struct figures {
    struct journal_counts journal;
    int64_t revision;
    uint64_t devices;
    unsigned connections;
    bool following;
};

static enum err_code read_figures(struct posp *posp, struct figures *out_figures, struct err *e)
{
    struct figures figures = {.connections =
                                  posp->listener != NULL ? listener_connections(posp->listener) : 0,
                              .following = posp->follower != NULL && follower_is_following(posp->follower)};
    TRY(journal_count(posp->store, &figures.journal, e));
    TRY(store_device_progress(posp->store, &figures.revision, &figures.devices, e));
    *out_figures = figures;
    return ERR_OK;
}

static void serve_get_status(Posward__Posp__V1__Operations_Service *service,
                             const Posward__Posp__V1__GetStatusRequest *input,
                             Posward__Posp__V1__GetStatusResponse_Closure closure, void *closure_data)
{
    struct posp *posp = posp_of(service);
    struct figures figures;
    struct err e = {0};
    (void)input;
    if (read_figures(posp, &figures, &e) != ERR_OK) {
        rpc_call_fail(rpc_call_of(closure_data), &e);
        return;
    }
    Posward__Posp__V1__GetStatusResponse response = POSWARD__POSP__V1__GET_STATUS_RESPONSE__INIT;
    response.version = (char *)(uintptr_t)POSWARD_VERSION;
    response.uptime_s = (clock_monotonic_ms() - posp->started_ms) / 1000;
    response.terminals_connected = figures.connections;
    response.devices_known = figures.devices;
    response.device_revision = figures.revision;
    response.following = figures.following;
    response.sign_ins = atomic_load(&posp->sign_ins);
    response.transactions = figures.journal.transactions;
    response.approved = figures.journal.approved;
    response.declined = figures.journal.declined;
    response.reversals_pending = figures.journal.reversals_pending;
    closure(&response, closure_data);
}

static void fill_transaction(const struct journal_entry *entry, Posward__Posp__V1__Transaction *t)
{
    *t = (Posward__Posp__V1__Transaction)POSWARD__POSP__V1__TRANSACTION__INIT;
    t->terminal_id = (char *)(uintptr_t)entry->terminal_id;
    t->trace_number = (char *)(uintptr_t)entry->trace;
    t->batch_number = (char *)(uintptr_t)entry->batch;
    t->masked_pan = (char *)(uintptr_t)entry->masked_pan;
    t->amount = (char *)(uintptr_t)entry->amount;
    t->response_code = (char *)(uintptr_t)entry->response_code;
    t->reference_number = (char *)(uintptr_t)entry->reference;
    t->state = (char *)(uintptr_t)journal_state_name(entry->state);
    t->created_ms = entry->created_ms;
}

struct listing {
    struct journal_entry entries[LIST_MAX];
    Posward__Posp__V1__Transaction messages[LIST_MAX], *pointers[LIST_MAX];
};

static enum err_code list(struct posp *posp, const Posward__Posp__V1__ListTransactionsRequest *input,
                          struct listing *listing, size_t *out_count, struct err *e)
{
    if (input->limit > LIST_MAX)
        return err_set(e, ERR_INPUT, "limit is at most %d", LIST_MAX);
    const size_t id_len = strlen(input->terminal_id);
    if (id_len != 0 && id_len != STORE_TERMINAL_BYTES - 1)
        return err_set(e, ERR_INPUT, "terminal_id must be 8 characters, got %zu; empty: all", id_len);
    const size_t most = input->limit == 0 ? LIST_DEFAULT : input->limit;
    TRY(journal_list(posp->store, input->terminal_id, 0, most, listing->entries, out_count, e));
    for (size_t i = 0; i < *out_count; i++) {
        fill_transaction(&listing->entries[i], &listing->messages[i]);
        listing->pointers[i] = &listing->messages[i];
    }
    return ERR_OK;
}

static void serve_list_transactions(Posward__Posp__V1__Operations_Service *service,
                                    const Posward__Posp__V1__ListTransactionsRequest *input,
                                    Posward__Posp__V1__ListTransactionsResponse_Closure closure,
                                    void *closure_data)
{
    struct err e = {0};
    size_t count = 0;
    struct listing *listing = malloc(sizeof *listing);
    enum err_code code = listing != NULL ? list(posp_of(service), input, listing, &count, &e)
                                         : err_set(&e, ERR_LIMIT, "out of memory");
    if (code == ERR_OK) {
        Posward__Posp__V1__ListTransactionsResponse response =
            POSWARD__POSP__V1__LIST_TRANSACTIONS_RESPONSE__INIT;
        response.n_transactions = count;
        response.transactions = listing->pointers;
        closure(&response, closure_data);
    } else {
        rpc_call_fail(rpc_call_of(closure_data), &e);
    }
    free(listing);
}

struct reseal_stream {
    struct rpc_call *call;
    Posward__Posp__V1__ResealProgress_Closure closure;
};

static Posward__Posp__V1__ResealProgress progress_of(const struct reseal_counts *counts, uint64_t total)
{
    Posward__Posp__V1__ResealProgress p = POSWARD__POSP__V1__RESEAL_PROGRESS__INIT;
    p.total = total;
    p.scanned = counts->scanned;
    p.resealed = counts->resealed;
    p.already = counts->already;
    p.must_sign_in = counts->must_sign_in;
    p.replaced = counts->replaced;
    p.failed = counts->failed;
    p.first_failure = (char *)(uintptr_t)counts->first_failure;
    p.storage_version = counts->newest.storage;
    p.tag_version = counts->newest.tag;
    return p;
}

static bool pause_reseal(void *context, const struct reseal_counts *counts, uint64_t total, int64_t pause_ms)
{
    const struct reseal_stream *const s = context;
    const Posward__Posp__V1__ResealProgress progress = progress_of(counts, total);
    s->closure(&progress, s->call);
    const int64_t until_ms = clock_monotonic_ms() + pause_ms;
    for (int64_t left_ms = pause_ms; left_ms > 0; left_ms = until_ms - clock_monotonic_ms())
        if (!rpc_call_wait(s->call, left_ms))
            return false;
    return !rpc_call_cancelled(s->call);
}

static void serve_reseal_store(Posward__Posp__V1__Operations_Service *service,
                               const Posward__Posp__V1__ResealStoreRequest *input,
                               Posward__Posp__V1__ResealProgress_Closure closure, void *closure_data)
{
    struct reseal_stream stream = {rpc_call_of(closure_data), closure};
    struct posp *const posp = posp_of(service);
    struct reseal_counts counts = {0};
    uint64_t left = 0;
    struct err e = {0};
    const enum err_code code =
        posp->reseal != NULL
            ? reseal_store(posp->reseal, input->rate, pause_reseal, &stream, &counts, &left, &e)
            : err_set(&e, ERR_UNAVAILABLE, "the front end is starting");
    if (code != ERR_OK) {
        log_failure(LOG_WARN, "re-sealing of the store ended early", &e);
        rpc_call_fail(stream.call, &e);
        return;
    }
    Posward__Posp__V1__ResealProgress last = progress_of(&counts, counts.scanned);
    last.done = true;
    last.left = left;
    log_event(LOG_INFO, "store re-sealed", LOG_INT("resealed", (int64_t)counts.resealed),
              LOG_INT("already", (int64_t)counts.already), LOG_INT("failed", (int64_t)counts.failed),
              LOG_INT("left", (int64_t)left));
    closure(&last, closure_data);
    closure(NULL, closure_data);
}

void operations_init(struct posp *posp, struct operations *out_operations)
{
    *out_operations =
        (struct operations){.service = POSWARD__POSP__V1__OPERATIONS__INIT(serve_), .posp = posp};
}

void operations_metrics(struct posp *posp, struct prometheus *page)
{
    struct figures figures;
    if (read_figures(posp, &figures, NULL) != ERR_OK)
        return;
    const struct prometheus_row rows[] = {
        {"posward_posp_terminals_connected", PROMETHEUS_GAUGE, "Terminals connected now.",
         figures.connections},
        {"posward_posp_devices", PROMETHEUS_GAUGE, "Devices known from POSV.", figures.devices},
        {"posward_posp_following", PROMETHEUS_GAUGE, "1 while POSV's change feed is open.",
         figures.following},
        {"posward_posp_messages_total", PROMETHEUS_COUNTER, "Messages from terminals since start.",
         atomic_load(&posp->messages)},
        {"posward_posp_sign_ins_total", PROMETHEUS_COUNTER, "Sign-ins since start.",
         atomic_load(&posp->sign_ins)},
        {"posward_posp_connections_dropped_total", PROMETHEUS_COUNTER,
         "Connections closed for what they sent.",
         posp->listener != NULL ? listener_dropped(posp->listener) : 0},
        {"posward_posp_transactions", PROMETHEUS_GAUGE, "Transactions in the journal.",
         figures.journal.transactions},
        {"posward_posp_approved", PROMETHEUS_GAUGE, "Of these, approved.", figures.journal.approved},
        {"posward_posp_declined", PROMETHEUS_GAUGE, "Of these, declined.", figures.journal.declined},
        {"posward_posp_reversals_pending", PROMETHEUS_GAUGE, "Reversals that no unit has acknowledged yet.",
         figures.journal.reversals_pending},
    };
    prometheus_rows(page, rows, sizeof rows / sizeof rows[0]);
}
