#include "hsm-service/gate/permit.h"

#include "posward/hsm/v1/hsm.pb-c.h"

#include <stdio.h>

static const enum rights_operation operations[FACTS_KIND_COUNT] = {
    [FACTS_DIVERSIFY] = RIGHTS_DIVERSIFY_CARD_KEY,
    [FACTS_RESEAL] = RIGHTS_RESEAL_BLOBS,
    [FACTS_WORKING_KEYS] = RIGHTS_GENERATE_WORKING_KEYS,
    [FACTS_TRANSACTION] = RIGHTS_PROCESS_TRANSACTION,
    [FACTS_GENERATE_MAC] = RIGHTS_GENERATE_MAC,
    [FACTS_VERIFY_MAC] = RIGHTS_VERIFY_MAC,
    [FACTS_TRANSLATE_PIN] = RIGHTS_TRANSLATE_PIN,
    [FACTS_ENCRYPT] = RIGHTS_ENCRYPT_DATA,
    [FACTS_DECRYPT] = RIGHTS_DECRYPT_DATA,
};

#define USE_KEYS_MAX 2

/* Of a transaction only the PIN's destination is a key that the caller chose: its blobs are the terminal's.
 */
static bool is_asked_about(const struct facts_operation *o, const struct facts_key *key)
{
    return o->kind != FACTS_TRANSACTION || key->part == FACTS_PART_PIN_DESTINATION;
}

/* A zone without a name is the keeper's to refuse. */
static bool has_no_name(const struct facts_key *key)
{
    return key->zone.data != NULL && key->zone.len == 0;
}

static struct rights_use use_of(const struct facts_operation *o)
{
    struct rights_use use = {.operation = operations[o->kind],
                             .response_mti = rights_is_response_mti(o->mac_data.data, o->mac_data.len)};
    for (size_t i = 0; i < o->key_count && use.key_count < USE_KEYS_MAX; i++) {
        if (!is_asked_about(o, &o->keys[i]) || has_no_name(&o->keys[i]))
            continue;
        use.keys[use.key_count].zone = (const char *)o->keys[i].zone.data;
        use.keys[use.key_count++].zone_len = o->keys[i].zone.len;
    }
    return use;
}

/* Keys that a request leaves out, and zones without a name, are the keeper's to ask for, which does nothing
 * before it has them. A transaction needs its right in any case: its MAC comes first. */
static bool is_whole(const struct facts_operation *o)
{
    if (o->kind == FACTS_TRANSACTION)
        return true;
    static const size_t keys[FACTS_KIND_COUNT] = {[FACTS_GENERATE_MAC] = 1,
                                                  [FACTS_VERIFY_MAC] = 1,
                                                  [FACTS_TRANSLATE_PIN] = 2,
                                                  [FACTS_ENCRYPT] = 1,
                                                  [FACTS_DECRYPT] = 1};
    for (size_t i = 0; i < o->key_count; i++)
        if (has_no_name(&o->keys[i]))
            return false;
    return o->key_count >= keys[o->kind];
}

static void tell(struct roles *roles, const char *identity, const char *method, const struct err *why)
{
    char path[96];
    snprintf(path, sizeof path, "/%s/%s", posward__hsm__v1__data_plane__descriptor.name, method);
    roles_refuse_right(roles, identity, path, why->note);
}

struct asking {
    struct roles *roles;
    const struct roles_view *view;
    const char *identity;
};

static enum err_code permit_all(const struct asking *asking, const struct facts *facts,
                                struct refusals *refusals, struct err *e)
{
    for (size_t i = 0; i < facts->count; i++) {
        const struct facts_operation *const o = &facts->operations[i];
        const struct rights_use use = use_of(o);
        struct err why = {0};
        if (!is_whole(o) || rights_check(asking->view, &use, &why) == ERR_OK)
            continue;
        tell(asking->roles, asking->identity, facts_method(facts->method), &why);
        if (!facts->batch) {
            *e = why;
            return why.code;
        }
        TRY(refusals_add(refusals, o->item, &why, e));
    }
    return ERR_OK;
}

enum err_code permit_call(struct roles *roles, const char *identity, const struct facts *facts,
                          struct refusals *refusals, struct err *e)
{
    struct roles_view view;
    if (facts->count == 0)
        return ERR_OK;
    roles_view_init(&view, roles, identity);
    const enum err_code code = permit_all(&(struct asking){roles, &view, identity}, facts, refusals, e);
    roles_view_drop(&view);
    return code;
}

enum err_code permit_method(struct roles *roles, const char *identity, enum rights_operation operation,
                            struct err *e)
{
    const struct rights_use use = {.operation = operation};
    struct roles_view view;
    roles_view_init(&view, roles, identity);
    const enum err_code code = rights_check(&view, &use, e);
    roles_view_drop(&view);
    if (code != ERR_OK)
        tell(roles, identity, rights_operation_name(operation), e);
    return code;
}
