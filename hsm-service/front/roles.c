#include "hsm-service/front/front.h"

#define LOOKERS   (ROLE_OPERATOR | ROLE_AUDITOR | ROLE_MONITOR)
#define READERS   (ROLE_OPERATOR | ROLE_AUDITOR)
#define KEYS(rpc) "/posward.hsm.v1.KeyManagement/" rpc

/* Keys are POSP's to use: the issuing unit gets card keys from POSP, which knows the cards. No person has a
 * row that works on a key or a PIN. */
const struct roles_row front_roles[] = {
    {"/posward.hsm.v1.DataPlane/DiversifyCardKey", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/GenerateWorkingKeys", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/GenerateMac", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/VerifyMac", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/TranslatePin", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/EncryptData", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/DecryptData", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/ProcessTransaction", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/ProcessBatch", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/ResealBlobs", ROLE_POSP},
    {"/posward.hsm.v1.DataPlane/Echo", ROLE_POSP | ROLE_OPERATOR | ROLE_MONITOR},
    {"/posward.hsm.v1.Control/GetTokenReport", LOOKERS},
    {"/posward.hsm.v1.Control/ListKeys", READERS},
    {"/posward.hsm.v1.Control/GetStatus", LOOKERS | ROLE_POSP},
    {KEYS("Propose"), ROLE_OPERATOR},
    {KEYS("Approve"), ROLE_OPERATOR},
    {KEYS("Reject"), ROLE_OPERATOR},
    {KEYS("SubmitComponent"), ROLE_OPERATOR},
    {KEYS("GetTransportKeys"), READERS},
    {KEYS("GetProposal"), READERS},
    {KEYS("ListProposals"), READERS},
    {KEYS("GetKey"), READERS},
    {KEYS("ListDestroyedKeys"), READERS},
    {KEYS("GetPolicy"), READERS},
    {KEYS("ReportKeyUse"), ROLE_POSP},
    {0},
};
