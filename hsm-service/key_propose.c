#include "hsm-service/key_propose.h"

#include "base/clock.h"
#include "hsm-service/key_propose_inside.h"
#include "rpc/client.h"

#include <stdio.h>
#include <string.h>

#define APPROVE_MS 120000 /* an execution waits until keepers are replaced */

typedef Posward__Hsm__V1__Proposal Proposal;

static enum err_code call(struct cli *cli, const char *method, const ProtobufCMessage *request,
                          ProtobufCMessage **out_response, struct err *e)
{
    struct rpc_channel *const channel = cli_channel(cli, "hsm_control", e);
    const int64_t configured_ms = cli_timeout_ms(cli);
    const struct rpc_call_options options = {.timeout_ms =
                                                 configured_ms > APPROVE_MS ? configured_ms : APPROVE_MS};
    if (channel == NULL)
        return e->code;
    return rpc_unary(channel, &posward__hsm__v1__key_management__descriptor, method, request, &options,
                     out_response, e);
}

static const char *state_text(Posward__Hsm__V1__ProposalState state)
{
    static const char *const names[] = {"unknown", "pending",  "executing", "executed",
                                        "failed",  "rejected", "expired"};
    return (size_t)state < sizeof names / sizeof names[0] ? names[state] : names[0];
}

static void print_header(const Posward__Hsm__V1__KeyBlockHeader *h)
{
    printf(
        "header     version %s, usage %s, algorithm %s, mode of use %s, key version %s, exportability %s\n",
        h->version, h->usage, h->algorithm, h->mode, h->key_version, h->exportability);
    for (size_t i = 0; i < h->n_optional_blocks; i++)
        printf("           optional block %s\n", h->optional_blocks[i]);
}

static void print_bytes(const char *what, const ProtobufCBinaryData *bytes)
{
    printf("%-10s ", what);
    for (size_t i = 0; i < bytes->len; i++)
        printf("%02X", bytes->data[i]);
    printf("\n");
}

static void print_proposal(const Proposal *p)
{
    char when[CLOCK_TEXT_BYTES];
    printf("proposal   %s  %s\n", p->id, state_text(p->state));
    printf("what       %s\n", p->summary);
    printf("why        %s\n", p->reason);
    for (size_t i = 0; i < p->n_would_break; i++)
        printf("%-10s %s\n", i == 0 ? "would break" : "", p->would_break[i]);
    clock_text(p->proposed_ms, when);
    printf("proposed   by %s, %s\n", p->proposed_by, when);
    for (size_t i = 1; i < p->n_approvals; i++) {
        clock_text(p->approvals[i]->at_ms, when);
        printf("approved   by %s, %s\n", p->approvals[i]->identity, when);
    }
    for (size_t i = 0; i < p->n_components; i++) {
        const Posward__Hsm__V1__Component *const c = p->components[i];
        clock_text(c->at_ms, when);
        printf("component  %u by %s, check value %02X%02X%02X, %s\n", c->number, c->identity, c->kcv.data[0],
               c->kcv.data[1], c->kcv.data[2], when);
    }
    if (p->header != NULL)
        print_header(p->header);
    for (size_t i = 0; i < p->n_keys; i++)
        if (p->keys[i]->kcv.len == 3)
            print_bytes("check value", &p->keys[i]->kcv);
    if (p->exported != NULL && p->exported->key_block[0] != '\0')
        printf("key block  %s\n", p->exported->key_block);
    else if (p->exported != NULL)
        print_bytes("wrapped", &p->exported->wrapped);
    if (p->grade != POSWARD__TYPES__V1__GRADE__GRADE_UNSPECIFIED)
        printf("grade      %s\n",
               p->grade == POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN ? "IN_TOKEN" : "PROCESS_MEMORY");
    if (p->waits_for[0] != '\0') {
        clock_text(p->expires_ms, when);
        printf("waits for  %s (until %s)\n", p->waits_for, when);
    }
    if (p->closed_by[0] != '\0')
        printf("rejected   by %s\n", p->closed_by);
    if (p->detail[0] != '\0')
        printf("result     %s\n", p->detail);
}

static enum err_code show_answer(struct cli *cli, ProtobufCMessage *response, struct err *e)
{
    const Proposal *const p = (const Proposal *)response;
    enum err_code code = ERR_OK;
    if (cli_json(cli))
        code = cli_print(cli, response, e);
    else
        print_proposal(p);
    if (code == ERR_OK && p->state == POSWARD__HSM__V1__PROPOSAL_STATE__PROPOSAL_STATE_FAILED)
        code = err_set(e, ERR_STATE, "it was agreed on, and the token refused: %.120s", p->detail);
    protobuf_c_message_free_unpacked(response, NULL);
    return code;
}

static enum err_code propose(struct cli *cli, const struct key_command *c, key_fill_fn fill, int argc,
                             char **argv, struct err *e)
{
    struct key_words words;
    AUTO(key_request) request = {0};
    ProtobufCMessage *response = NULL;
    TRY(key_words_read(c, argc, argv, &words, e));
    if (words.help) {
        key_command_help(c);
        return ERR_OK;
    }
    if (words.reason == NULL)
        return err_set(e, ERR_INPUT, "--reason is missing: the approvers read it");
    key_request_init(&request, &words);
    TRY(fill(&words, &request, e));
    TRY(call(cli, "Propose", &request.message.base, &response, e));
    return show_answer(cli, response, e);
}

#define AGREE "Another operator agrees with: posward key approve ID"
#define PROPOSAL_COMMAND(verb, text)                                                                         \
    enum err_code key_propose_##verb(struct cli *cli, int argc, char **argv, struct err *e)                  \
    {                                                                                                        \
        static const struct key_command command = {#verb, text, key_##verb##_options};                       \
        return propose(cli, &command, key_fill_##verb, argc, argv, e);                                       \
    }

PROPOSAL_COMMAND(create, "Propose a new key, made by the token's own generator.\n" AGREE)
PROPOSAL_COMMAND(rotate, "Propose the next version of a key. The versions before stay active until they are "
                         "deactivated.\n" AGREE)
PROPOSAL_COMMAND(import, "Propose to bring a key in: by components of custodians, or wrapped.\n" AGREE)
PROPOSAL_COMMAND(activate, "Propose to take a key into use.\n" AGREE)
PROPOSAL_COMMAND(deactivate, "Propose to use a key no longer, but to open what it protected.\n" AGREE)
PROPOSAL_COMMAND(destroy, "Propose to destroy a key for ever. It must not be active.\n" AGREE)

enum err_code key_propose_policy(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct key_command command = {"policy-change",
                                               "Propose a change of the policy; what is not named stays. The "
                                               "configuration is the outer bound.\n" AGREE,
                                               key_policy_options};
    return propose(cli, &command, key_fill_policy, argc, argv, e);
}

static enum err_code print_list(const Posward__Hsm__V1__ListProposalsResponse *list)
{
    printf("%-12s  %-9s  %-24s  %s\n", "ID", "STATE", "PROPOSED", "WHAT");
    for (size_t i = 0; i < list->n_proposals; i++) {
        const Proposal *const p = list->proposals[i];
        char when[CLOCK_TEXT_BYTES];
        clock_text(p->proposed_ms, when);
        printf("%-12s  %-9s  %-24s  %s\n", p->id, state_text(p->state), when, p->summary);
        printf("%-12s  %-9s  by %s: %s\n", "", "", p->proposed_by, p->reason);
        if (p->waits_for[0] != '\0')
            printf("%-12s  %-9s  waits for %s\n", "", "", p->waits_for);
    }
    return ERR_OK;
}

enum err_code key_proposals(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct key_command command = {"proposals", "Show what is proposed, and who it waits for.",
                                               key_proposals_options};
    struct key_words words;
    ProtobufCMessage *response = NULL;
    Posward__Hsm__V1__ListProposalsRequest request = POSWARD__HSM__V1__LIST_PROPOSALS_REQUEST__INIT;
    TRY(key_words_read(&command, argc, argv, &words, e));
    if (words.help) {
        key_command_help(&command);
        return ERR_OK;
    }
    request.all = words.all;
    TRY(call(cli, "ListProposals", &request.base, &response, e));
    const enum err_code code = cli_json(cli)
                                   ? cli_print(cli, response, e)
                                   : print_list((const Posward__Hsm__V1__ListProposalsResponse *)response);
    protobuf_c_message_free_unpacked(response, NULL);
    return code;
}

static enum err_code act_on(struct cli *cli, const struct key_command *c, const char *method, int argc,
                            char **argv, struct err *e)
{
    struct key_words words;
    ProtobufCMessage *response = NULL;
    TRY(key_words_read(c, argc, argv, &words, e));
    if (words.help) {
        key_command_help(c);
        return ERR_OK;
    }
    if (words.id == NULL)
        return err_set(e, ERR_INPUT, "which proposal? posward key proposals shows their ids");
    Posward__Hsm__V1__ApproveRequest approve = POSWARD__HSM__V1__APPROVE_REQUEST__INIT;
    Posward__Hsm__V1__RejectRequest reject = POSWARD__HSM__V1__REJECT_REQUEST__INIT;
    approve.id = reject.id = key_text(words.id);
    reject.reason = key_text(words.reason);
    const bool is_reject = strcmp(method, "Reject") == 0;
    TRY(call(cli, method, is_reject ? &reject.base : &approve.base, &response, e));
    return show_answer(cli, response, e);
}

enum err_code key_approve(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct key_command command = {
        "approve",
        "Agree to a proposal of another operator. The last approval that is needed carries it out.",
        key_approve_options};
    return act_on(cli, &command, "Approve", argc, argv, e);
}

enum err_code key_reject(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct key_command command = {"reject", "Close a proposal; your own one: withdraw it.",
                                               key_reject_options};
    return act_on(cli, &command, "Reject", argc, argv, e);
}

enum err_code key_show(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct key_command command = {
        "show", "Show one key, who depends on it, and proposals about it.", key_show_options};
    struct key_words words;
    ProtobufCMessage *response = NULL;
    Posward__Hsm__V1__GetKeyRequest request = POSWARD__HSM__V1__GET_KEY_REQUEST__INIT;
    Posward__Hsm__V1__KeyName name;
    TRY(key_words_read(&command, argc, argv, &words, e));
    if (words.help) {
        key_command_help(&command);
        return ERR_OK;
    }
    TRY(key_fill_name(&words, &name, e));
    request.key = &name;
    TRY(call(cli, "GetKey", &request.base, &response, e));
    const enum err_code code = cli_print(cli, response, e);
    protobuf_c_message_free_unpacked(response, NULL);
    return code;
}
