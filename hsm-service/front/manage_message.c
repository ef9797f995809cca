/* A proposal as a message. It is made of copies, so that protobuf-c can free it whole. */
#include "hsm-service/front/manage_state.h"

#include <stdlib.h>
#include <string.h>

#define WAITS_BYTES 2048
#define LINES_MOST  64

static char *copy(const char *text)
{
    char *const made = text[0] != '\0' ? strdup(text) : (char *)(uintptr_t)protobuf_c_empty_string;
    return made != NULL ? made : (char *)(uintptr_t)protobuf_c_empty_string;
}

/* Pack and unpack: the one deep copy that protobuf-c has. */
static ProtobufCMessage *deep_copy(const ProtobufCMessage *message)
{
    const size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *const bytes = malloc(len + 1);
    if (bytes == NULL)
        return NULL;
    protobuf_c_message_pack(message, bytes);
    ProtobufCMessage *const made = protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
    free(bytes);
    return made;
}

static void fill_texts(const struct control_proposal *p, ProposalMessage *m)
{
    char waits[WAITS_BYTES];
    control_waits_for(p, waits, sizeof waits);
    m->id = copy(p->id);
    m->state = (Posward__Hsm__V1__ProposalState)p->state;
    m->summary = copy(p->summary);
    m->reason = copy(p->reason);
    m->proposed_by = copy(p->proposed_by);
    m->proposed_ms = p->proposed_ms;
    m->expires_ms = p->expires_ms;
    m->approvals_needed = p->approvals_needed;
    m->waits_for = copy(waits);
    m->detail = copy(p->detail);
    m->closed_by = copy(p->closed_by);
    m->closed_ms = p->closed_ms;
}

static bool fill_approvals(const struct control_proposal *p, ProposalMessage *m)
{
    m->approvals = calloc(p->approval_count + 1, sizeof(Posward__Hsm__V1__Approval *));
    for (size_t i = 0; m->approvals != NULL && i < p->approval_count; i++) {
        Posward__Hsm__V1__Approval *const a = calloc(1, sizeof *a);
        if (a == NULL)
            return false;
        posward__hsm__v1__approval__init(a);
        a->identity = copy(p->approvals[i].identity);
        a->at_ms = p->approvals[i].at_ms;
        m->approvals[m->n_approvals++] = a;
    }
    return m->approvals != NULL;
}

static bool fill_components(const struct control_proposal *p, ProposalMessage *m)
{
    m->components = calloc(p->component_count + 1, sizeof(Posward__Hsm__V1__Component *));
    for (size_t i = 0; m->components != NULL && i < p->component_count; i++) {
        Posward__Hsm__V1__Component *const c = calloc(1, sizeof *c);
        uint8_t *const kcv = malloc(CONTROL_KCV_BYTES);
        if (c == NULL || kcv == NULL) {
            free(c);
            free(kcv);
            return false;
        }
        posward__hsm__v1__component__init(c);
        memcpy(kcv, p->components[i].kcv, CONTROL_KCV_BYTES);
        c->number = (uint32_t)i + 1;
        c->identity = copy(p->components[i].identity);
        c->at_ms = p->components[i].at_ms;
        c->kcv = (ProtobufCBinaryData){CONTROL_KCV_BYTES, kcv};
        m->components[m->n_components++] = c;
    }
    return m->components != NULL;
}

static bool fill_breaks(const struct control_proposal *p, ProposalMessage *m)
{
    m->would_break = calloc(LINES_MOST, sizeof(char *));
    const char *at = p->would_break;
    while (m->would_break != NULL && *at != '\0' && m->n_would_break < LINES_MOST) {
        const size_t len = strcspn(at, "\n");
        char *const line = strndup(at, len);
        if (line == NULL)
            return false;
        m->would_break[m->n_would_break++] = line;
        at += len + (at[len] != '\0');
    }
    return m->would_break != NULL;
}

/* The parts of a keeper's outcome change hands: the copy of the outcome goes without them. */
static bool fill_outcome(const struct control_proposal *p, ProposalMessage *m)
{
    if (p->outcome == NULL)
        return true;
    ControlOutcome *const o = (ControlOutcome *)deep_copy(&p->outcome->base);
    if (o == NULL)
        return false;
    m->header = o->header;
    m->keys = o->keys;
    m->n_keys = o->n_keys;
    m->exported = o->exported;
    m->grade = o->grade;
    o->header = NULL;
    o->keys = NULL;
    o->n_keys = 0;
    o->exported = NULL;
    posward__hsm__v1__key_outcome__free_unpacked(o, NULL);
    return true;
}

static bool fill_request(const struct control_proposal *p, ProposalMessage *m)
{
    m->request = (ControlRequest *)deep_copy(&p->request->base);
    if (m->request == NULL)
        return false;
    control_strip(m->request);
    return true;
}

enum err_code manage_message(const struct control_proposal *p, ProposalMessage **out_message, struct err *e)
{
    ProposalMessage *const m = calloc(1, sizeof *m);
    if (m != NULL) {
        posward__hsm__v1__proposal__init(m);
        fill_texts(p, m);
        if (fill_approvals(p, m) && fill_components(p, m) && fill_breaks(p, m) && fill_outcome(p, m) &&
            fill_request(p, m)) {
            *out_message = m;
            return ERR_OK;
        }
    }
    manage_message_free(m);
    return err_set(e, ERR_LIMIT, "no memory to tell about a proposal");
}

void manage_message_free(ProposalMessage *message)
{
    if (message != NULL)
        posward__hsm__v1__proposal__free_unpacked(message, NULL);
}
