#include "run/notify.h"
#include "tests/support/suite.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

START_TEST(notify_is_silent_without_a_socket)
{
    struct err e = {0};
    unsetenv("NOTIFY_SOCKET");
    ck_assert_ok(notify_send("READY=1", &e), e);
    setenv("NOTIFY_SOCKET", "", 1);
    ck_assert_ok(notify_send("READY=1", &e), e);
}
END_TEST

START_TEST(notify_reaches_an_abstract_socket)
{
    char name[64], got[32] = "";
    const int n = snprintf(name, sizeof name, "@posward-unit-%d", (int)getpid());
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, name + 1, (size_t)n - 1);
    const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n)),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
    struct err e = {0};
    ck_assert_ok(notify_send("READY=1", &e), e);
    ck_assert_int_eq(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), 7);
    ck_assert_str_eq(got, "READY=1");
    close(fd);
}
END_TEST

START_TEST(notify_tells_of_a_socket_that_is_none)
{
    struct err e = {0};
    setenv("NOTIFY_SOCKET", "relative", 1);
    ck_assert_int_eq(notify_send("READY=1", &e), ERR_INPUT);
    setenv("NOTIFY_SOCKET", "/nowhere/notify", 1);
    ck_assert_int_eq(notify_send("READY=1", &e), ERR_IO);
    char path[200];
    memset(path, '/', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    setenv("NOTIFY_SOCKET", path, 1);
    ck_assert_int_eq(notify_send("READY=1", &e), ERR_INPUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("notify");
    TCase *tc = tcase_create("notify");
    tcase_add_test(tc, notify_is_silent_without_a_socket);
    tcase_add_test(tc, notify_reaches_an_abstract_socket);
    tcase_add_test(tc, notify_tells_of_a_socket_that_is_none);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
