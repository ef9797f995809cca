/* How many calls a second the HSM service answers: each method against Echo on the same server, whose cost is
 * that of the RPC alone. A client of a running service: bench_hsm.py makes one and knows its keys.
 *
 * usage: bench_hsm HOST:PORT PIN-BLOCK-HEX [CALLS [IN-FLIGHT]] */
#include "base/clock.h"
#include "base/hex.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "rpc/client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLS_MOST     1000000
#define IN_FLIGHT_MOST 512
#define BATCH          32

typedef Posward__Hsm__V1__BatchItem BatchItem;

struct run {
    struct rpc_channel *channel;
    const char *method;
    const ProtobufCMessage *request;
    size_t calls, in_flight_most;
    pthread_mutex_t lock;
    pthread_cond_t room;
    size_t in_flight, done, failed;
    int64_t *took_us; /* of each call that is done */
    struct err first_failure;
};

struct call {
    struct run *run;
    int64_t start_us;
};

static void on_done(void *context, const ProtobufCMessage *response, const struct err *e)
{
    struct call *const call = context;
    struct run *const run = call->run;
    const int64_t took_us = clock_monotonic_us() - call->start_us;
    pthread_mutex_lock(&run->lock);
    if (response == NULL && run->failed++ == 0)
        run->first_failure = *e;
    run->took_us[run->done++] = took_us;
    run->in_flight--;
    pthread_cond_signal(&run->room);
    pthread_mutex_unlock(&run->lock);
    free(call);
}

static enum err_code start_one(struct run *run, struct err *e)
{
    const struct rpc_call_options options = {.timeout_ms = 30000};
    struct call *const call = malloc(sizeof *call);
    if (call == NULL)
        return err_set(e, ERR_LIMIT, "no memory");
    *call = (struct call){run, clock_monotonic_us()};
    const enum err_code code = rpc_unary_start(run->channel, &posward__hsm__v1__data_plane__descriptor,
                                               run->method, run->request, &options, on_done, call, e);
    if (code != ERR_OK)
        free(call);
    return code;
}

static enum err_code run_all(struct run *run, struct err *e)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < run->calls && code == ERR_OK; i++) {
        pthread_mutex_lock(&run->lock);
        while (run->in_flight >= run->in_flight_most)
            pthread_cond_wait(&run->room, &run->lock);
        run->in_flight++;
        pthread_mutex_unlock(&run->lock);
        code = start_one(run, e);
        if (code != ERR_OK) {
            pthread_mutex_lock(&run->lock);
            run->in_flight--;
            pthread_mutex_unlock(&run->lock);
        }
    }
    pthread_mutex_lock(&run->lock);
    while (run->in_flight > 0)
        pthread_cond_wait(&run->room, &run->lock);
    pthread_mutex_unlock(&run->lock);
    return code;
}

static int by_time(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Calls a second. */
static enum err_code measure(struct rpc_channel *channel, const char *method, const ProtobufCMessage *request,
                             size_t calls, size_t in_flight, size_t operations, double *echo, struct err *e)
{
    struct run run = {.channel = channel,
                      .method = method,
                      .request = request,
                      .calls = calls,
                      .in_flight_most = in_flight,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .room = PTHREAD_COND_INITIALIZER,
                      .took_us = calloc(calls, sizeof(int64_t))};
    if (run.took_us == NULL)
        return err_set(e, ERR_LIMIT, "no memory for %zu calls", calls);
    const int64_t start_us = clock_monotonic_us();
    enum err_code code = run_all(&run, e);
    const double seconds = (double)(clock_monotonic_us() - start_us) / 1e6;
    if (code == ERR_OK && run.failed > 0)
        code = err_set(e, ERR_STATE, "%zu of %zu calls of %s failed: %.120s", run.failed, calls, method,
                       run.first_failure.note);
    if (code == ERR_OK) {
        const double rate = (double)(calls * operations) / seconds;
        qsort(run.took_us, calls, sizeof(int64_t), by_time);
        if (*echo == 0) /* the first run is the measure */
            *echo = rate;
        printf("%-14s %4zu  %9.0f  %6.2f  %8lld  %8lld\n", method, operations, rate, rate / *echo,
               (long long)run.took_us[calls / 2], (long long)run.took_us[calls - 1 - calls / 100]);
    }
    free(run.took_us);
    return code;
}

struct requests {
    Posward__Hsm__V1__ZoneKey zone;
    Posward__Hsm__V1__KeyRef key;
    Posward__Hsm__V1__EchoRequest echo;
    Posward__Hsm__V1__TranslatePinRequest pin;
    Posward__Hsm__V1__GenerateMacRequest mac;
    BatchItem item;
    BatchItem *items[BATCH];
    Posward__Hsm__V1__ProcessBatchRequest batch;
    uint8_t block[8], data[256];
    char name[8], pan[20];
};

static enum err_code make_requests(struct requests *r, const char *block_hex, struct err *e)
{
    if (strlen(block_hex) != 2 * sizeof r->block)
        return err_set(e, ERR_INPUT, "the PIN block must have 16 hexadecimal digits");
    TRY(hex_decode(block_hex, strlen(block_hex), r->block, e));
    strcpy(r->name, "bank");
    strcpy(r->pan, "6225880000000009");
    posward__hsm__v1__zone_key__init(&r->zone);
    r->zone.zone = r->name;
    r->zone.suite = POSWARD__TYPES__V1__SUITE__SUITE_TDES;
    posward__hsm__v1__key_ref__init(&r->key);
    r->key.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    r->key.zone = &r->zone;
    posward__hsm__v1__echo_request__init(&r->echo);
    r->echo.payload = (ProtobufCBinaryData){.len = 94, .data = r->data};
    posward__hsm__v1__translate_pin_request__init(&r->pin);
    r->pin.source = r->pin.destination = &r->key;
    r->pin.source_format = r->pin.destination_format = POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_0;
    r->pin.pan = r->pan;
    r->pin.block = (ProtobufCBinaryData){.len = sizeof r->block, .data = r->block};
    posward__hsm__v1__generate_mac_request__init(&r->mac);
    r->mac.key = &r->key;
    r->mac.algorithm = POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_UNIONPAY_ECB;
    r->mac.data = (ProtobufCBinaryData){.len = sizeof r->data, .data = r->data};
    posward__hsm__v1__batch_item__init(&r->item);
    r->item.operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_TRANSLATE_PIN;
    r->item.translate_pin = &r->pin;
    for (size_t i = 0; i < BATCH; i++)
        r->items[i] = &r->item;
    posward__hsm__v1__process_batch_request__init(&r->batch);
    r->batch.n_items = BATCH;
    r->batch.items = r->items;
    return ERR_OK;
}

static enum err_code bench(const char *target, const char *block_hex, size_t calls, size_t in_flight,
                           struct err *e)
{
    static struct requests r;
    const struct rpc_channel_options options = {.target = target, .tls = {.insecure = true}};
    struct rpc_channel *channel = NULL;
    double echo = 0;
    TRY(make_requests(&r, block_hex, e));
    TRY(rpc_channel_new(&options, &channel, e));
    printf("%-14s %4s  %9s  %6s  %8s  %8s\n", "method", "ops", "ops/s", "/Echo", "p50 us", "p99 us");
    enum err_code code = measure(channel, "Echo", &r.echo.base, calls, in_flight, 1, &echo, e);
    if (code == ERR_OK)
        code = measure(channel, "TranslatePin", &r.pin.base, calls, in_flight, 1, &echo, e);
    if (code == ERR_OK)
        code = measure(channel, "GenerateMac", &r.mac.base, calls, in_flight, 1, &echo, e);
    if (code == ERR_OK)
        code = measure(channel, "ProcessBatch", &r.batch.base, calls / BATCH + 1, in_flight, BATCH, &echo, e);
    rpc_channel_free(channel);
    return code;
}

static size_t number(const char *text, size_t most)
{
    const unsigned long value = strtoul(text, NULL, 10);
    return value < 1 ? 1 : value > most ? most : value;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: bench_hsm HOST:PORT PIN-BLOCK-HEX [CALLS [IN-FLIGHT]]\n");
        return 2;
    }
    const size_t calls = argc > 3 ? number(argv[3], CALLS_MOST) : 20000;
    const size_t in_flight = argc > 4 ? number(argv[4], IN_FLIGHT_MOST) : 32;
    if (bench(argv[1], argv[2], calls, in_flight, &e) == ERR_OK)
        return EXIT_SUCCESS;
    fprintf(stderr, "bench_hsm: %s\n", e.note);
    return EXIT_FAILURE;
}
