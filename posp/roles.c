#include "posp/daemon.h"

#define LOOKERS (ROLE_OPERATOR | ROLE_AUDITOR | ROLE_MONITOR)

const struct roles_row posp_roles[] = {
    {"/posward.posp.v1.CardKeys/RequestCardKey", ROLE_ISSUER},
    {"/posward.posp.v1.CardKeys/ConfirmCardKey", ROLE_ISSUER},
    {"/posward.posp.v1.CardKeys/GetCard", ROLE_ISSUER | ROLE_OPERATOR | ROLE_AUDITOR},
    {"/posward.posp.v1.Operations/GetStatus", LOOKERS},
    {"/posward.posp.v1.Operations/ListTransactions", ROLE_OPERATOR | ROLE_AUDITOR},
    {"/posward.posp.v1.Operations/ResealStore", ROLE_OPERATOR},
    {0},
};
