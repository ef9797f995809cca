#include "posp/answer.h"
#include "posp/purchase.h"

enum err_code purchase_decline(struct purchase *p, const char *response_code, const char *reference,
                               struct answer *out_answer, struct err *e)
{
    struct iso_message reply;
    struct err why = {0};
    iso_message_init(&reply, p->posp->dialect);
    enum err_code code = answer_begin(p->posp, p->request->message, response_code, reference, &reply, e);
    if (code == ERR_OK && (p->proven == NULL || answer_seal(p->posp, p->request->rules, p->proven, &reply,
                                                            out_answer, &why) != ERR_OK))
        code = answer_pack(&reply, out_answer, e);
    iso_message_drop(&reply);
    return code;
}
