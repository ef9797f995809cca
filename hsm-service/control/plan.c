#include "hsm-service/control/plan.h"

#include "base/terms.h"
#include "p11/keys/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTION(which) POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_##which
#define STATE(which)  POSWARD__HSM__V1__KEY_STATE__KEY_STATE_##which

/* ---- Names ---- */

void control_label(const ControlKeyName *name, char out_label[CONTROL_LABEL_BYTES])
{
    snprintf(out_label, CONTROL_LABEL_BYTES, "%s%s%s/%s/%u", name->role, name->zone[0] != '\0' ? "/" : "",
             name->zone, name->suite, name->version);
}

enum err_code control_check_name(const ControlKeyName *name, bool any_version, struct err *e)
{
    char label[CONTROL_LABEL_BYTES + 16];
    struct tok_key_name parsed;
    if (name == NULL)
        return err_set(e, ERR_INPUT, "key is missing: role, suite, and for zone keys a zone");
    const ControlKeyName *const n = name;
    const unsigned version = n->version == 0 && any_version ? 1 : n->version;
    const int len = snprintf(label, sizeof label, "posward/%s%s%s/%s/%u", n->role,
                             n->zone[0] != '\0' ? "/" : "", n->zone, n->suite, version);
    if (len < 0 || (size_t)len >= sizeof label)
        return err_set(e, ERR_INPUT, "key has a role, suite or zone that is too long");
    TRY(tok_key_parse(label, &parsed, e));
    /* A role with a slash in it would parse as something else. */
    if (strcmp(tok_role_name(parsed.role), n->role) != 0 ||
        strcmp(tok_suite_name(parsed.suite), n->suite) != 0 || strcmp(parsed.zone, n->zone) != 0)
        return err_set(e, ERR_INPUT, "key has a role, suite or zone of foreign characters");
    return ERR_OK;
}

static bool same_line(const ControlKey *key, const ControlKeyName *name)
{
    return strcmp(key->role, name->role) == 0 && strcmp(key->suite, name->suite) == 0 &&
           strcmp(key->zone, name->zone) == 0;
}

/* Before keys had states, a key that was there was active. */
static Posward__Hsm__V1__KeyState state_of(const ControlKey *key)
{
    return key->state == STATE(UNSPECIFIED) ? STATE(ACTIVE) : key->state;
}

const ControlKey *control_key_of(const struct control_view *view, const ControlKeyName *name)
{
    for (size_t i = 0; i < view->count; i++)
        if (same_line(view->keys[i], name) && view->keys[i]->version == name->version &&
            state_of(view->keys[i]) != STATE(DESTROYED))
            return view->keys[i];
    return NULL;
}

static bool was_destroyed(const struct control_view *view, const ControlKeyName *name)
{
    for (size_t i = 0; i < view->destroyed_count; i++)
        if (same_line(view->destroyed[i], name) && view->destroyed[i]->version == name->version)
            return true;
    for (size_t i = 0; i < view->count; i++)
        if (same_line(view->keys[i], name) && view->keys[i]->version == name->version &&
            state_of(view->keys[i]) == STATE(DESTROYED))
            return true;
    return false;
}

/* The highest version that is there or was; 0: none. */
static unsigned newest(const struct control_view *view, const ControlKeyName *name)
{
    unsigned version = 0;
    for (size_t i = 0; i < view->count; i++)
        if (same_line(view->keys[i], name) && view->keys[i]->version > version)
            version = view->keys[i]->version;
    for (size_t i = 0; i < view->destroyed_count; i++)
        if (same_line(view->destroyed[i], name) && view->destroyed[i]->version > version)
            version = view->destroyed[i]->version;
    return version;
}

/* ---- Requests ---- */

ControlKeyName *control_request_key(const ControlRequest *r)
{
    switch (r->action_case) {
    case ACTION(CREATE):
        return r->create->key;
    case ACTION(ROTATE):
        return r->rotate->key;
    case ACTION(IMPORT):
        return r->import->key;
    case ACTION(ACTIVATE):
        return r->activate->key;
    case ACTION(DEACTIVATE):
        return r->deactivate->key;
    case ACTION(DESTROY):
        return r->destroy->key;
    case ACTION(POLICY):
    case ACTION(_NOT_SET):
    case _POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION__CASE_IS_INT_SIZE:
        break;
    }
    return NULL;
}

static enum err_code set_version(ControlKeyName *name, const struct control_view *view, struct err *e)
{
    char label[CONTROL_LABEL_BYTES];
    if (name->version == 0)
        name->version = newest(view, name) + 1;
    if (name->version > KEY_VERSION_MAX)
        return err_set(e, ERR_LIMIT, "version %d is the last one of a key; none is left", KEY_VERSION_MAX);
    control_label(name, label);
    if (control_key_of(view, name) != NULL)
        return err_set(e, ERR_EXISTS, "%s is there already; leave the version out for a new one", label);
    if (was_destroyed(view, name))
        return err_set(e, ERR_EXISTS, "%s was destroyed; a version is not used again", label);
    return ERR_OK;
}

static enum err_code plan_create(ControlRequest *r, const struct control_view *view, struct err *e)
{
    const Posward__Hsm__V1__CreateKey *const create = r->create;
    if (create->export_to != NULL) {
        if (create->key->zone[0] == '\0')
            return err_set(e, ERR_INPUT, "export_to is for zone keys; a %s key never leaves the token",
                           create->key->role);
        TRY(control_check_name(create->export_to->under, true, e));
    }
    return set_version(create->key, view, e);
}

static enum err_code plan_rotate(ControlRequest *r, const struct control_view *view, struct err *e)
{
    ControlKeyName *const key = r->rotate->key;
    if (key->version != 0)
        return err_set(e, ERR_INPUT, "rotate.key.version must be 0: the new key gets the next one");
    if (newest(view, key) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no %s%s%s/%s key to rotate; create one", key->role,
                       key->zone[0] != '\0' ? "/" : "", key->zone, key->suite);
    return set_version(key, view, e);
}

static enum err_code plan_import(ControlRequest *r, const struct control_view *view, struct err *e)
{
    const Posward__Hsm__V1__ImportKey *const import = r->import;
    if (import->kcv.len != 0 && import->kcv.len != CONTROL_KCV_BYTES)
        return err_set(e, ERR_INPUT, "import.kcv has %d bytes, or none", CONTROL_KCV_BYTES);
    if (import->source_case == POSWARD__HSM__V1__IMPORT_KEY__SOURCE_COMPONENTS) {
        if (import->components->count < 2 || import->components->count > CONTROL_COMPONENTS_MOST)
            return err_set(e, ERR_INPUT, "components.count is %u; it must be within 2 and %d",
                           import->components->count, CONTROL_COMPONENTS_MOST);
    } else if (import->source_case == POSWARD__HSM__V1__IMPORT_KEY__SOURCE_WRAPPED) {
        const Posward__Hsm__V1__WrappedSource *const w = import->wrapped;
        if (w->wrapped.len > CONTROL_KEY_BLOCK_BYTES || strlen(w->key_block) > CONTROL_KEY_BLOCK_BYTES)
            return err_set(e, ERR_INPUT, "a wrapped key has at most %d bytes", CONTROL_KEY_BLOCK_BYTES);
        if ((w->wrapped.len == 0) == (w->key_block[0] == '\0'))
            return err_set(e, ERR_INPUT, "import.wrapped has either wrapped or key_block");
        TRY(control_check_name(w->under, true, e));
    } else {
        return err_set(e, ERR_INPUT, "import has neither components nor wrapped: say how the key travels");
    }
    return set_version(import->key, view, e);
}

static enum err_code find(ControlRequest *r, const struct control_view *view, const ControlKey **out_key,
                          struct err *e)
{
    const ControlKeyName *const name = control_request_key(r);
    char label[CONTROL_LABEL_BYTES];
    control_label(name, label);
    *out_key = control_key_of(view, name);
    if (*out_key != NULL)
        return ERR_OK;
    if (was_destroyed(view, name))
        return err_set(e, ERR_STATE, "%s is destroyed already", label);
    return err_set(e, ERR_NOT_FOUND, "there is no key %s; posward key list shows them", label);
}

static enum err_code plan_activate(ControlRequest *r, const struct control_view *view, struct err *e)
{
    const ControlKey *key = NULL;
    TRY(find(r, view, &key, e));
    return state_of(key) != STATE(ACTIVE) ? ERR_OK : err_set(e, ERR_STATE, "the key is active already");
}

static enum err_code plan_deactivate(ControlRequest *r, const struct control_view *view, struct err *e)
{
    const ControlKey *key = NULL;
    TRY(find(r, view, &key, e));
    return state_of(key) == STATE(ACTIVE)
               ? ERR_OK
               : err_set(e, ERR_STATE,
                         "only an active key can be deactivated; posward key show tells its state");
}

static enum err_code plan_destroy(ControlRequest *r, const struct control_view *view, struct err *e)
{
    const ControlKey *key = NULL;
    TRY(find(r, view, &key, e));
    return state_of(key) != STATE(ACTIVE) ? ERR_OK
                                          : err_set(e, ERR_STATE, "the key is active; deactivate it first");
}

static enum err_code plan_policy(ControlRequest *r, const struct control_view *view, struct err *e)
{
    (void)view;
    return r->policy->policy != NULL ? ERR_OK : err_set(e, ERR_INPUT, "policy.policy is missing");
}

static const struct {
    const char *verb;
    bool new_key; /* its version may be left out */
    enum err_code (*plan)(ControlRequest *r, const struct control_view *view, struct err *e);
} actions[] = {
    [ACTION(CREATE)] = {"create", true, plan_create},
    [ACTION(ROTATE)] = {"rotate", true, plan_rotate},
    [ACTION(IMPORT)] = {"import", true, plan_import},
    [ACTION(ACTIVATE)] = {"activate", false, plan_activate},
    [ACTION(DEACTIVATE)] = {"deactivate", false, plan_deactivate},
    [ACTION(DESTROY)] = {"destroy", false, plan_destroy},
    [ACTION(POLICY)] = {"change the policy", false, plan_policy},
};
#define ACTION_COUNT (sizeof actions / sizeof actions[0])

static void say_policy(const Posward__Hsm__V1__Policy *p, char *out, size_t capacity)
{
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"approvals", p->approvals},
        {"proposal-expires-s", p->proposal_expires_s},
        {"pin-terminal-per-minute", p->pin_terminal_per_minute},
        {"pin-terminal-per-hour", p->pin_terminal_per_hour},
        {"pin-account-per-minute", p->pin_account_per_minute},
        {"pin-account-per-hour", p->pin_account_per_hour},
    };
    size_t len = (size_t)snprintf(out, capacity, "change the policy:");
    if (p->exposure[0] != '\0')
        len += (size_t)snprintf(out + len, capacity - len, " exposure=%.10s", p->exposure);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && len < capacity; i++)
        if (numbers[i].value != 0)
            len += (size_t)snprintf(out + len, capacity - len, " %s=%lld", numbers[i].name,
                                    (long long)numbers[i].value);
}

/* "rotate psam-master/tdes to version 2", "import zone-pin/bank/tdes/1 from 3 components". */
static void say(const ControlRequest *r, const char *label, char *out, size_t capacity)
{
    const char *const verb = actions[r->action_case].verb;
    size_t len = (size_t)snprintf(out, capacity, "%s %s", verb, label);
    if (r->action_case == ACTION(ROTATE))
        len = (size_t)snprintf(out, capacity, "rotate %.*s to version %u", (int)(strrchr(label, '/') - label),
                               label, r->rotate->key->version);
    if (r->action_case == ACTION(IMPORT) &&
        r->import->source_case == POSWARD__HSM__V1__IMPORT_KEY__SOURCE_COMPONENTS)
        len +=
            (size_t)snprintf(out + len, capacity - len, " from %u components", r->import->components->count);
    else if (r->action_case == ACTION(IMPORT))
        len += (size_t)snprintf(out + len, capacity - len, " under %.60s", r->import->wrapped->under->role);
    const bool pre_active = (r->action_case == ACTION(CREATE) && r->create->pre_active) ||
                            (r->action_case == ACTION(ROTATE) && r->rotate->pre_active) ||
                            (r->action_case == ACTION(IMPORT) && r->import->pre_active);
    if (pre_active)
        len += (size_t)snprintf(out + len, capacity - len, ", pre-active");
    if (r->action_case == ACTION(CREATE) && r->create->export_to != NULL)
        len += (size_t)snprintf(out + len, capacity - len, ", exported under its zone master key");
    if ((r->action_case == ACTION(DESTROY) && r->destroy->break_use) ||
        (r->action_case == ACTION(DEACTIVATE) && r->deactivate->break_use))
        snprintf(out + len, capacity - len, " although it is in use");
}

static enum err_code plan_copy(ControlRequest *r, const struct control_view *view,
                               struct control_proposal *draft, struct err *e)
{
    if (r->action_case == ACTION(POLICY)) {
        TRY(plan_policy(r, view, e));
        snprintf(draft->label, sizeof draft->label, "policy");
        say_policy(r->policy->policy, draft->summary, sizeof draft->summary);
        return ERR_OK;
    }
    const ControlKeyName *const name = control_request_key(r);
    TRY(control_check_name(name, actions[r->action_case].new_key, e));
    TRY(actions[r->action_case].plan(r, view, e));
    control_label(name, draft->label);
    say(r, draft->label, draft->summary, sizeof draft->summary);
    return ERR_OK;
}

static ControlRequest *copy_request(const ControlRequest *request)
{
    const size_t len = posward__hsm__v1__propose_request__get_packed_size(request);
    uint8_t *const bytes = malloc(len + 1);
    if (bytes == NULL)
        return NULL;
    posward__hsm__v1__propose_request__pack(request, bytes);
    ControlRequest *const copy = posward__hsm__v1__propose_request__unpack(NULL, len, bytes);
    free(bytes);
    return copy;
}

enum err_code control_plan(const ControlRequest *request, const struct control_view *view,
                           struct control_proposal *out_draft, struct err *e)
{
    if (request->action_case == ACTION(_NOT_SET) || (size_t)request->action_case >= ACTION_COUNT ||
        actions[request->action_case].verb == NULL)
        return err_set(e, ERR_INPUT, "nothing is proposed: name one action, such as create or rotate");
    struct control_proposal draft = {.request = copy_request(request)};
    if (draft.request == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a proposal");
    const enum err_code code = plan_copy(draft.request, view, &draft, e);
    if (code != ERR_OK)
        control_proposal_drop(&draft);
    else
        *out_draft = draft;
    return code;
}

/* ---- After a lost answer ---- */

enum control_trace control_look(const ControlRequest *r, const struct control_view *view)
{
    const ControlKeyName *const name = control_request_key(r);
    const ControlKey *const key = name != NULL ? control_key_of(view, name) : NULL;
    const Posward__Hsm__V1__KeyState state = key != NULL ? state_of(key) : STATE(DESTROYED);
    switch (r->action_case) {
    case ACTION(CREATE):
    case ACTION(ROTATE):
    case ACTION(IMPORT):
        return key != NULL ? CONTROL_DONE : CONTROL_NOT_DONE;
    case ACTION(ACTIVATE):
        return key == NULL ? CONTROL_UNCLEAR : state == STATE(ACTIVE) ? CONTROL_DONE : CONTROL_NOT_DONE;
    case ACTION(DEACTIVATE):
        return state == STATE(DEACTIVATED) ? CONTROL_DONE
               : state == STATE(ACTIVE)    ? CONTROL_NOT_DONE
                                           : CONTROL_UNCLEAR;
    case ACTION(DESTROY):
        return key == NULL ? CONTROL_DONE : CONTROL_NOT_DONE;
    case ACTION(POLICY):
    case ACTION(_NOT_SET):
    case _POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION__CASE_IS_INT_SIZE:
        break;
    }
    return CONTROL_NOT_DONE;
}
