/* The operators' command: tables of the services' folders, one engine. */
#include "hsm-service/cli.h"
#include "issuer/cli.h"
#include "posp/cli.h"
#include "posv/cli.h"
#include "run/cli.h"

#include <posward/business/v1/business.pb-c.h>
#include <posward/hsm/v1/hsm.pb-c.h>
#include <posward/hsm/v1/keys.pb-c.h>
#include <posward/posp/v1/posp.pb-c.h>
#include <posward/posv/v1/posv.pb-c.h>

static const struct cli_service services[] = {
    {&posward__hsm__v1__control__descriptor, "hsm_control", "GetTokenReport", "{\"chosenOnly\":true}"},
    {&posward__hsm__v1__data_plane__descriptor, "hsm"},
    {&posward__hsm__v1__key_management__descriptor, "hsm_control"},
    {&posward__posp__v1__operations__descriptor, "posp"},
    {&posward__posp__v1__card_keys__descriptor, "posp"},
    {&posward__posv__v1__registry__descriptor, "posv"},
    {&posward__business__v1__business__descriptor, "bank"},
    {0},
};

int main(int argc, char **argv)
{
    static const struct cli_command *const tables[] = {hsm_commands, posp_commands, posv_commands,
                                                       issuer_commands};
    return cli_main(tables, sizeof tables / sizeof tables[0], services, argc, argv);
}
