/* The endpoint under clients that take their time. */
#include "run/metrics.h"

#include "base/clock.h"
#include "tests/support/suite.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOW_CLIENTS 200
#define SCRAPES      20
#define WAIT_S       20 /* for one answer; a test that fails takes so long */

static struct metrics *endpoint;

static void write_page(void *context, FILE *out)
{
    (void)context;
    fputs("unit_page 1\n", out);
}

static void start(void)
{
    struct err e = {0};
    ck_assert_ok(metrics_new("127.0.0.1:0", write_page, NULL, &endpoint, &e), e);
}

static void stop(void)
{
    metrics_free(endpoint);
}

static int dial(void)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)metrics_port(endpoint)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval wait = {.tv_sec = WAIT_S};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void ask(int fd)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    char page[1024];
    ck_assert_int_eq(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    size_t got = 0;
    page[0] = '\0';
    while (strstr(page, "unit_page 1\n") == NULL) {
        const ssize_t n = recv(fd, page + got, sizeof page - 1 - got, 0);
        ck_assert_msg(n > 0, "no answer, but: %s", page);
        got += (size_t)n;
        page[got] = '\0';
    }
}

/* Clients that send a byte of a header now and then, and come back when they are sent away. */
struct crowd {
    int fds[SLOW_CLIENTS];
    atomic_bool over;
    atomic_int rounds, sent_away;
    pthread_t thread;
};

static void *dribble(void *context)
{
    struct crowd *const crowd = context;
    while (!atomic_load(&crowd->over)) {
        for (size_t i = 0; i < SLOW_CLIENTS; i++) {
            if (send(crowd->fds[i], "G", 1, MSG_NOSIGNAL) == 1)
                continue;
            close(crowd->fds[i]);
            crowd->fds[i] = dial();
            atomic_fetch_add(&crowd->sent_away, 1);
        }
        atomic_fetch_add(&crowd->rounds, 1);
        clock_sleep_ms(20);
    }
    return NULL;
}

START_TEST(slow_clients_do_not_stop_a_scrape)
{
    static struct crowd crowd;
    for (size_t i = 0; i < SLOW_CLIENTS; i++)
        crowd.fds[i] = dial();
    ck_assert_int_eq(pthread_create(&crowd.thread, NULL, dribble, &crowd), 0);
    for (int i = 0; i < SCRAPES; i++) {
        const int fd = dial();
        ask(fd);
        close(fd);
    }
    atomic_store(&crowd.over, true);
    pthread_join(crowd.thread, NULL);
    for (size_t i = 0; i < SLOW_CLIENTS; i++)
        close(crowd.fds[i]);
    const int fd = dial(); /* and after them */
    ask(fd);
    close(fd);
}
END_TEST

/* However it sends: it is the whole request that has a time. */
START_TEST(request_that_trickles_is_ended)
{
    const int fd = dial();
    while (send(fd, "G", 1, MSG_NOSIGNAL) == 1)
        clock_sleep_ms(20);
    close(fd);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("metrics");
    TCase *tc = tcase_create("metrics");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, slow_clients_do_not_stop_a_scrape);
    tcase_add_test(tc, request_that_trickles_is_ended);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
