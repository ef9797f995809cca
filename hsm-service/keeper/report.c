#include "hsm-service/keeper/cases.h"
#include "hsm-service/keeper/convert.h"
#include "p11/tok.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS_A_SECOND 1000
#define NO_ROOM     "the answer needs more memory than a request may use"

typedef Posward__Hsm__V1__GetTokenReportResponse HsmReportResponse;
typedef Posward__Hsm__V1__ListKeysResponse HsmKeysResponse;
typedef Posward__Hsm__V1__Token HsmToken;
typedef Posward__Hsm__V1__Way HsmWay;

static enum err_code fill_token(struct keeper_call *call, HsmToken *out, struct err *e)
{
    struct tok_info info;
    char library[sizeof info.library + 24];
    tok_info(call->tok, &info);
    snprintf(library, sizeof library, "%s %d.%d", info.library, info.library_major, info.library_minor);
    TRY(arena_text(call->arena, info.label, &out->label, e));
    TRY(arena_text(call->arena, info.serial, &out->serial, e));
    TRY(arena_text(call->arena, info.manufacturer, &out->manufacturer, e));
    TRY(arena_text(call->arena, info.model, &out->model, e));
    return arena_text(call->arena, library, &out->library, e);
}

static enum err_code fill_way(struct keeper_call *call, const struct tok_way *way, HsmWay *out, struct err *e)
{
    out->grade = convert_grade(way->grade);
    out->works = way->works;
    out->chosen = way->chosen;
    out->took_us = way->took_us;
    TRY(arena_text(call->arena, way->flow_name, &out->flow, e));
    TRY(arena_text(call->arena, way->way_name, &out->way, e));
    return arena_text(call->arena, way->why, &out->why, e);
}

/* An array of `count` messages, filled by the caller; NULL: the arena is used up. */
static ProtobufCMessage **make_array(struct keeper_call *call, const ProtobufCMessageDescriptor *descriptor,
                                     size_t count)
{
    struct err e = {0};
    ProtobufCMessage **const array = arena_take(call->arena, (count + 1) * sizeof(ProtobufCMessage *));
    for (size_t i = 0; array != NULL && i < count; i++)
        if (case_message(call, descriptor, &array[i], &e) != ERR_OK)
            return NULL;
    return array;
}

enum err_code case_token_report(struct keeper_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, struct err *e)
{
    const bool chosen_only = ((const Posward__Hsm__V1__GetTokenReportRequest *)request)->chosen_only;
    HsmReportResponse *const out = (HsmReportResponse *)response;
    const size_t count = tok_ways_count(call->tok);
    size_t shown = 0;
    ProtobufCMessage **const ways = make_array(call, &posward__hsm__v1__way__descriptor, count);
    ProtobufCMessage *token = NULL;
    if (ways == NULL)
        return err_set(e, ERR_LIMIT, NO_ROOM);
    TRY(case_message(call, &posward__hsm__v1__token__descriptor, &token, e));
    TRY(fill_token(call, (HsmToken *)token, e));
    for (size_t i = 0; i < count; i++) {
        const struct tok_way *const way = tok_ways_get(call->tok, i);
        if (way->chosen || !chosen_only)
            TRY(fill_way(call, way, (HsmWay *)ways[shown++], e));
    }
    out->token = (HsmToken *)token;
    out->n_ways = shown;
    out->ways = (HsmWay **)ways;
    out->in_token_only = call->policy->in_token_only;
    out->tdes_mak_bytes_min = call->policy->tdes_mak_bytes_min;
    return ERR_OK;
}

enum err_code case_fill_key(struct keeper_call *call, const struct tok_key_info *info, HsmKey *out,
                            struct err *e)
{
    const struct tok_key_name *const name = &info->name;
    out->state = convert_state_back(info->state);
    out->created_ms = info->created_s * MS_A_SECOND;
    out->activated_ms = info->activated_s * MS_A_SECOND;
    out->deactivated_ms = info->deactivated_s * MS_A_SECOND;
    TRY(arena_text(call->arena, tok_role_usage(name->role, name->suite), &out->usage, e));
    out->version = info->name.version;
    TRY(arena_text(call->arena, tok_role_name(info->name.role), &out->role, e));
    TRY(arena_text(call->arena, tok_suite_name(info->name.suite), &out->suite, e));
    TRY(arena_text(call->arena, info->name.zone, &out->zone, e));
    return info->has_kcv ? arena_copy(call->arena, info->kcv, sizeof info->kcv, &out->kcv, e) : ERR_OK;
}

/* By role, zone, suite, version: tokens list objects in any order. */
static int by_name(const void *a, const void *b)
{
    const struct tok_key_name *const x = &((const struct tok_key_info *)a)->name;
    const struct tok_key_name *const y = &((const struct tok_key_info *)b)->name;
    int order = strcmp(tok_role_name(x->role), tok_role_name(y->role));
    order = order != 0 ? order : strcmp(x->zone, y->zone);
    order = order != 0 ? order : (int)x->suite - (int)y->suite;
    return order != 0 ? order : (int)x->version - (int)y->version;
}

enum err_code case_list_keys(struct keeper_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage *response, struct err *e)
{
    (void)request;
    HsmKeysResponse *const out = (HsmKeysResponse *)response;
    const size_t count = tok_keys_count(call->tok);
    ProtobufCMessage **const keys = make_array(call, &posward__hsm__v1__key__descriptor, count);
    struct tok_key_info *const infos = arena_take(call->arena, count * sizeof *infos);
    if (keys == NULL || infos == NULL)
        return err_set(e, ERR_LIMIT, NO_ROOM);
    for (size_t i = 0; i < count; i++)
        tok_keys_info(call->tok, i, &infos[i]);
    qsort(infos, count, sizeof *infos, by_name);
    for (size_t i = 0; i < count; i++)
        TRY(case_fill_key(call, &infos[i], (HsmKey *)keys[i], e));
    out->n_keys = count;
    out->keys = (HsmKey **)keys;
    return ERR_OK;
}
