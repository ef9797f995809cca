#include "posv/service.h"

#define LOOKERS (ROLE_OPERATOR | ROLE_AUDITOR | ROLE_MONITOR)
#define WRITERS                                                                                              \
    (ROLE_OPERATOR | ROLE_ISSUER) /* a card that is issued is registered, or takes another's place */

const struct roles_row posv_roles[] = {
    {"/posward.posv.v1.Registry/RegisterDevice", WRITERS},
    {"/posward.posv.v1.Registry/ReplaceCard", WRITERS},
    {"/posward.posv.v1.Registry/SuspendDevice", WRITERS},
    {"/posward.posv.v1.Registry/ResumeDevice", WRITERS},
    {"/posward.posv.v1.Registry/RetireDevice", WRITERS},
    {"/posward.posv.v1.Registry/GetDevice", LOOKERS | ROLE_ISSUER},
    {"/posward.posv.v1.Registry/ListDevices", LOOKERS | ROLE_ISSUER},
    {"/posward.posv.v1.Registry/WatchDevices", ROLE_POSP},
    {"/posward.posv.v1.Registry/GetStatus", LOOKERS | ROLE_POSP},
    {0},
};
