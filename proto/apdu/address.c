#include "apdu/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST_MAX 256

static enum err_code resolve(const char *address, bool passive, struct addrinfo **out_list, struct err *e)
{
    const char *colon = strrchr(address, ':');
    const size_t host_len = colon != NULL ? (size_t)(colon - address) : 0;
    if (colon == NULL || host_len == 0 || host_len >= HOST_MAX || colon[1] == '\0')
        return err_set(e, ERR_INPUT, "\"%.60s\" is not host:port", address);
    const bool bracketed = address[0] == '[' && address[host_len - 1] == ']';
    char host[HOST_MAX];
    snprintf(host, sizeof host, "%.*s", (int)(host_len - (bracketed ? 2 : 0)), address + (bracketed ? 1 : 0));
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
    const int code = getaddrinfo(host, colon + 1, &hints, out_list);
    if (code != 0)
        return err_native(e, ERR_INPUT, code, "%.60s: %s", address, gai_strerror(code));
    return ERR_OK;
}

/* 0 connected, else errno. */
static int connect_within(int fd, const struct addrinfo *a, int timeout_ms)
{
    const int flags = fcntl(fd, F_GETFL);
    int error = 0;
    socklen_t error_len = sizeof error;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        if (errno != EINPROGRESS)
            return errno;
        if (poll(&p, 1, timeout_ms) <= 0)
            return ETIMEDOUT;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len) != 0 || error != 0)
            return error != 0 ? error : errno;
    }
    (void)fcntl(fd, F_SETFL, flags);
    return 0;
}

enum err_code address_connect(const char *address, int timeout_ms, int *out_fd, struct err *e)
{
    struct addrinfo *list = NULL;
    TRY(resolve(address, false, &list, e));
    int error = ECONNREFUSED, fd = -1;
    for (const struct addrinfo *a = list; a != NULL && error != 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        error = fd < 0 ? errno : connect_within(fd, a, timeout_ms);
        if (fd >= 0 && error != 0)
            close(fd);
    }
    freeaddrinfo(list);
    if (error != 0)
        return err_native(e, ERR_UNAVAILABLE, error, "cannot connect to %.60s: %s", address, strerror(error));
    *out_fd = fd;
    return ERR_OK;
}

static enum err_code listen_on(int fd, const struct addrinfo *a, const char *address, int *out_port,
                               struct err *e)
{
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof bound;
    char port[16];
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 8) != 0)
        return err_native(e, ERR_UNAVAILABLE, errno, "cannot listen at %.60s: %s", address, strerror(errno));
    if (getsockname(fd, (struct sockaddr *)&bound, &bound_len) != 0 ||
        getnameinfo((struct sockaddr *)&bound, bound_len, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
        return err_errno(e, "getsockname");
    *out_port = (int)strtol(port, NULL, 10); /* getnameinfo's own digits */
    return ERR_OK;
}

enum err_code address_listen(const char *address, int *out_fd, int *out_port, struct err *e)
{
    struct addrinfo *list = NULL;
    TRY(resolve(address, true, &list, e));
    const int fd = socket(list->ai_family, list->ai_socktype | SOCK_CLOEXEC, list->ai_protocol);
    enum err_code code = fd < 0 ? err_errno(e, "socket") : listen_on(fd, list, address, out_port, e);
    freeaddrinfo(list);
    if (code == ERR_OK)
        *out_fd = fd;
    else if (fd >= 0)
        close(fd);
    return code;
}
