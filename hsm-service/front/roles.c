#include "hsm-service/front/front.h"

#include <stddef.h>

#define LOOKERS (ROLE_OPERATOR | ROLE_AUDITOR | ROLE_MONITOR)
#define READERS (ROLE_OPERATOR | ROLE_AUDITOR)

#define DATA(rpc, roles)                                                                                     \
    {                                                                                                        \
        "/posward.hsm.v1.DataPlane/" rpc, (roles), FRONT_DATA                                                \
    }
#define CONTROL(rpc, roles)                                                                                  \
    {                                                                                                        \
        "/posward.hsm.v1.Control/" rpc, (roles), FRONT_CONTROL                                               \
    }
#define KEYS(rpc, roles)                                                                                     \
    {                                                                                                        \
        "/posward.hsm.v1.KeyManagement/" rpc, (roles), FRONT_CONTROL                                         \
    }

const struct service_server front_servers[] = {
    [FRONT_DATA] = {"data", "listen", "port", offsetof(struct hsm_config, service.listen)},
    [FRONT_CONTROL] = {"control", "control_listen", "control_port",
                       offsetof(struct hsm_config, control_listen),
                       offsetof(struct hsm_config, control_max_in_flight)},
    [FRONT_PLANES] = {0},
};

/* Keys are POSP's to use: the issuing unit gets card keys from POSP, which knows the cards. No person has a
 * row that works on a key or a PIN. */
const struct roles_row front_roles[] = {
    DATA("DiversifyCardKey", ROLE_POSP),
    DATA("GenerateWorkingKeys", ROLE_POSP),
    DATA("GenerateMac", ROLE_POSP),
    DATA("VerifyMac", ROLE_POSP),
    DATA("TranslatePin", ROLE_POSP),
    DATA("EncryptData", ROLE_POSP),
    DATA("DecryptData", ROLE_POSP),
    DATA("ProcessTransaction", ROLE_POSP),
    DATA("ProcessBatch", ROLE_POSP),
    DATA("ResealBlobs", ROLE_POSP),
    DATA("ReportKeyUse", ROLE_POSP),
    DATA("Echo", ROLE_POSP | ROLE_OPERATOR | ROLE_MONITOR),
    DATA("GetStatus", ROLE_POSP | LOOKERS),
    CONTROL("GetTokenReport", LOOKERS),
    CONTROL("ListKeys", READERS),
    CONTROL("GetStatus", LOOKERS),
    KEYS("Propose", ROLE_OPERATOR),
    KEYS("Approve", ROLE_OPERATOR),
    KEYS("Reject", ROLE_OPERATOR),
    KEYS("SubmitComponent", ROLE_OPERATOR),
    KEYS("GetTransportKeys", READERS),
    KEYS("GetProposal", READERS),
    KEYS("ListProposals", READERS),
    KEYS("GetKey", READERS),
    KEYS("ListDestroyedKeys", READERS),
    KEYS("GetPolicy", READERS),
    {0},
};
