#include "hsm-service/control/proposal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *control_state_name(enum control_state state)
{
    static const char *const names[CONTROL_STATE_COUNT] = {
        [CONTROL_PENDING] = "pending", [CONTROL_EXECUTING] = "executing", [CONTROL_EXECUTED] = "executed",
        [CONTROL_FAILED] = "failed",   [CONTROL_REJECTED] = "rejected",   [CONTROL_EXPIRED] = "expired",
    };
    return state > 0 && state < CONTROL_STATE_COUNT ? names[state] : "unknown";
}

void control_proposal_drop(struct control_proposal *p)
{
    if (p->request != NULL)
        posward__hsm__v1__propose_request__free_unpacked(p->request, NULL);
    if (p->outcome != NULL)
        posward__hsm__v1__key_outcome__free_unpacked(p->outcome, NULL);
    p->request = NULL;
    p->outcome = NULL;
}

unsigned control_components_wanted(const struct control_proposal *p)
{
    const ControlRequest *const r = p->request;
    if (r->action_case != POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_IMPORT ||
        r->import->source_case != POSWARD__HSM__V1__IMPORT_KEY__SOURCE_COMPONENTS)
        return 0;
    return r->import->components->count;
}

bool control_is_complete(const struct control_proposal *p)
{
    return p->approval_count >= p->approvals_needed && p->component_count >= control_components_wanted(p);
}

static size_t say_approvals(const struct control_proposal *p, char *out, size_t capacity)
{
    const unsigned missing = p->approvals_needed - (unsigned)p->approval_count;
    size_t len = (size_t)snprintf(out, capacity, "%u more approval%s by %s other than", missing,
                                  missing == 1 ? "" : "s", missing == 1 ? "an operator" : "operators");
    for (size_t i = 0; i < p->approval_count && len < capacity; i++)
        len +=
            (size_t)snprintf(out + len, capacity - len, "%s %s", i > 0 ? "," : "", p->approvals[i].identity);
    return len < capacity ? len : capacity - 1;
}

void control_waits_for(const struct control_proposal *p, char *out_text, size_t capacity)
{
    const unsigned wanted = control_components_wanted(p);
    size_t len = 0;
    out_text[0] = '\0';
    if (p->state == CONTROL_EXECUTING)
        snprintf(out_text, capacity, "the token");
    if (p->state != CONTROL_PENDING)
        return;
    if (p->approval_count < p->approvals_needed)
        len = say_approvals(p, out_text, capacity);
    if (p->component_count < wanted)
        snprintf(out_text + len, capacity - len, "%scomponent %zu of %u", len > 0 ? "; " : "",
                 p->component_count + 1, wanted);
}

static void protect(ProtobufCBinaryData *bytes, char **text)
{
    free(bytes->data);
    *bytes = (ProtobufCBinaryData){0};
    if (*text != protobuf_c_empty_string)
        free(*text);
    *text = (char *)protobuf_c_empty_string;
}

void control_strip(ControlRequest *request)
{
    if (request->action_case != POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_IMPORT ||
        request->import->source_case != POSWARD__HSM__V1__IMPORT_KEY__SOURCE_WRAPPED)
        return;
    protect(&request->import->wrapped->wrapped, &request->import->wrapped->key_block);
}
