#include "posp/cli.h"

#include "posp/reseal_cli.h"

#include "posward/posp/v1/posp.pb-c.h"

const cli_table posp_commands = {
    {.group = "transaction",
     .name = "list",
     .help = "Show the newest transactions of the journal.",
     .endpoint = "posp",
     .service = &posward__posp__v1__operations__descriptor,
     .method = "ListTransactions"},
    {.group = "card",
     .name = "record",
     .help = "Show what is on record of a PSAM card's key: suite, version, KCV and whether it was written.",
     .endpoint = "posp",
     .service = &posward__posp__v1__card_keys__descriptor,
     .method = "GetCard",
     .positional = "psam_number"},
    {.group = "posp",
     .name = "status",
     .help = "Show the front end's counts: terminals, devices followed, transactions, reversals.",
     .endpoint = "posp",
     .service = &posward__posp__v1__operations__descriptor,
     .method = "GetStatus"},
    {.group = "posp",
     .name = "reseal",
     .help = "Move all stored key blobs to the current storage key.",
     .run = reseal_cli,
     .options = reseal_cli_options},
    {.group = NULL},
};
