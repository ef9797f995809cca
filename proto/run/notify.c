#include "run/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum err_code notify_send(const char *state, struct err *e)
{
    const char *const path = getenv("NOTIFY_SOCKET");
    if (path == NULL || path[0] == '\0')
        return ERR_OK;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t len = strlen(path);
    if (len >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return err_set(e, ERR_INPUT, "NOTIFY_SOCKET is no socket path: %.60s", path);
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* the abstract name space */
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(e, "notify socket");
    const socklen_t address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    const ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, address_bytes);
    const enum err_code code = sent < 0 ? err_errno(e, "%s", path) : ERR_OK;
    (void)close(fd);
    return code;
}
