#include "posv/cli.h"

#include <posward/posv/v1/posv.pb-c.h>

#define DEVICE_ROW(command, rpc, field, text)                                                                \
    {                                                                                                        \
        .group = "device", .name = (command), .help = (text), .endpoint = "posv",                            \
        .service = &posward__posv__v1__registry__descriptor, .method = (rpc), .positional = (field)          \
    }

const cli_table posv_commands = {
    DEVICE_ROW("register", "RegisterDevice", "terminal_id", "Register a terminal with the card in it."),
    DEVICE_ROW("replace-card", "ReplaceCard", "terminal_id", "Put another card into a terminal."),
    DEVICE_ROW("suspend", "SuspendDevice", "terminal_id", "Refuse a terminal for the time being."),
    DEVICE_ROW("resume", "ResumeDevice", "terminal_id", "Let a suspended terminal work again."),
    DEVICE_ROW("retire", "RetireDevice", "terminal_id", "Take a terminal out of service for good."),
    DEVICE_ROW("show", "GetDevice", "terminal_id", "Show one device, by terminal or by --psam-number."),
    DEVICE_ROW("list", "ListDevices", NULL, "List devices by terminal, a page at a time."),
    DEVICE_ROW("watch", "WatchDevices", NULL, "Print each change as it happens, from --from-revision on."),
    {.group = "posv",
     .name = "status",
     .help = "Show the registry's counts: devices, revision, watchers.",
     .endpoint = "posv",
     .service = &posward__posv__v1__registry__descriptor,
     .method = "GetStatus"},
    {.group = NULL},
};
