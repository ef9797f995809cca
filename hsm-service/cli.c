#include "hsm-service/cli.h"

#include "hsm-service/audit_cli.h"
#include "hsm-service/ceremony.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#define CONTROL(command_group, command_name, rpc, text)                                                      \
    {                                                                                                        \
        .group = (command_group), .name = (command_name), .help = (text), .endpoint = "hsm",                 \
        .service = &posward__hsm__v1__control__descriptor, .method = (rpc)                                   \
    }
#define DATA(command_name, rpc, text)                                                                        \
    {                                                                                                        \
        .group = "hsm", .name = (command_name), .help = (text), .endpoint = "hsm",                           \
        .service = &posward__hsm__v1__data_plane__descriptor, .method = (rpc)                                \
    }

cli_table hsm_commands = {
    {.group = "key",
     .name = "init",
     .help = "Make the estate's keys that the token does not have yet (on the HSM host).",
     .run = ceremony_key_init},
    {.group = "key",
     .name = "load-components",
     .help = "Load a key from its custodians' components (on the HSM host).",
     .run = ceremony_load_components},
    CONTROL("key", "list", "ListKeys",
            "List the keys that the HSM service works with, with their check values."),
    {.group = "audit",
     .name = "verify",
     .help = "Verify an audit log from its files and the public key.",
     .run = audit_cli_verify},
    {.group = "audit", .name = "show", .help = "Print records of an audit log.", .run = audit_cli_show},
    CONTROL("token", "report", "GetTokenReport", "Show the token and which way each flow takes on it."),
    CONTROL("hsm", "status", "GetStatus", "Show the HSM service's keepers and calls."),
    DATA("diversify-card-key", "DiversifyCardKey", "Make the commands that write a card's TMK."),
    DATA("generate-working-keys", "GenerateWorkingKeys",
         "Make working keys under a card's TMK and as blobs."),
    DATA("generate-mac", "GenerateMac", "Make a MAC."),
    DATA("verify-mac", "VerifyMac", "Verify a MAC."),
    DATA("translate-pin", "TranslatePin", "Translate a PIN block to another key."),
    DATA("encrypt-data", "EncryptData", "Encipher data."),
    DATA("decrypt-data", "DecryptData", "Decipher data."),
    DATA("process-transaction", "ProcessTransaction",
         "Verify a MAC, translate a PIN, decipher a track in one call."),
    DATA("process-batch", "ProcessBatch", "Do many operations in one call."),
    DATA("echo", "Echo", "Send bytes there and back."),
    {0},
};
