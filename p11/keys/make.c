/* Keys made in the token: first a session object that may also show its check value, then its copy as a token
 * object with nothing but the role's usages. So no half-made key is ever seen, and no key keeps a usage it
 * does not need. */
#include "p11/keys/make.h"
#include "p11/keys/pair.h"
#include "p11/keys/role.h"
#include "p11/keys/state.h"
#include "p11/module/state.h"
#include "p11/object/object.h"

#include <string.h>

#define USES_MOST 8

struct make {
    struct tok_session *s;
    const struct tok_key_name *name;
    char label[TOK_LABEL_BYTES + sizeof TOK_LEFT_SUFFIX];
    const struct tok_key_record *left; /* of the half that was made before it; NULL: it has none */
    const uint8_t *expected;           /* its check value, when it is known beforehand; NULL: it is not */
    bool closes;   /* the object that it is copied from may be extracted; the copy may not */
    bool hardened; /* with CKA_ALLOWED_MECHANISMS and CKA_UNWRAP_TEMPLATE: not every token takes them */
};

static CK_KEY_TYPE key_type(enum tok_suite suite)
{
    return suite == TOK_TDES ? CKK_DES2 : CKK_AES;
}

/* The usage that shows a check value. */
static CK_ATTRIBUTE_TYPE showing_use(enum tok_suite suite)
{
    return suite == TOK_TDES ? CKA_ENCRYPT : CKA_SIGN;
}

static bool role_has(const struct tok_key_name *name, CK_ATTRIBUTE_TYPE use)
{
    const CK_ATTRIBUTE_TYPE *uses = tok_role_uses(name->role, name->suite);
    while (*uses != CK_UNAVAILABLE_INFORMATION && *uses != use)
        uses++;
    return *uses == use;
}

/* The role's usages and that one. */
static void making_uses(const struct make *m, CK_ATTRIBUTE_TYPE out_uses[USES_MOST])
{
    const CK_ATTRIBUTE_TYPE *uses = tok_role_uses(m->name->role, m->name->suite);
    size_t n = 0;
    for (; uses[n] != CK_UNAVAILABLE_INFORMATION && n + 2 < USES_MOST; n++)
        out_uses[n] = uses[n];
    out_uses[n++] = showing_use(m->name->suite);
    out_uses[n] = CK_UNAVAILABLE_INFORMATION;
}

static void making_template(const struct make *m, struct tok_template *out_t)
{
    static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    static const CK_ATTRIBUTE unwrapped[] = {
        {CKA_SENSITIVE, (void *)(uintptr_t)&yes, sizeof yes},
        {CKA_EXTRACTABLE, (void *)(uintptr_t)&no, sizeof no},
    };
    CK_ATTRIBUTE_TYPE uses[USES_MOST];
    size_t count = 0;
    making_uses(m, uses);
    tok_template_secret(out_t, key_type(m->name->suite), uses);
    if (!m->hardened)
        return;
    const CK_MECHANISM_TYPE *mechanisms = tok_role_mechanisms(m->name->role, m->name->suite, &count);
    tok_template_bytes(out_t, CKA_ALLOWED_MECHANISMS, mechanisms, count * sizeof *mechanisms);
    if (m->name->role == TOK_STORAGE) /* no blob becomes a readable object, whoever asks */
        tok_template_bytes(out_t, CKA_UNWRAP_TEMPLATE, unwrapped, sizeof unwrapped);
}

void tok_key_template(const struct tok_key_name *name, bool hardened, struct tok_template *out_template)
{
    const struct make m = {.name = name, .hardened = hardened};
    making_template(&m, out_template);
}

static enum err_code make_by_generator(const struct make *m, struct tok_object *out_object, struct err *e)
{
    struct tok_template t;
    CK_MECHANISM generate = {.mechanism = m->name->suite == TOK_TDES ? CKM_DES2_KEY_GEN : CKM_AES_KEY_GEN};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    making_template(m, &t);
    if (m->name->suite != TOK_TDES)
        tok_template_number(&t, CKA_VALUE_LEN, tok_key_bytes(m->name->role, m->name->suite));
    TRY(tok_rv(m->s->fn->C_GenerateKey(m->s->handle, &generate, t.rows, t.count, &handle), "C_GenerateKey",
               e));
    *out_object = (struct tok_object){.session = m->s, .handle = handle};
    return ERR_OK;
}

static enum err_code make_by_value(const struct make *m, const uint8_t *value, size_t len,
                                   struct tok_object *out_object, struct err *e)
{
    struct tok_template t;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    making_template(m, &t);
    tok_template_bytes(&t, CKA_VALUE, value, len);
    TRY(tok_rv(m->s->fn->C_CreateObject(m->s->handle, t.rows, t.count, &handle), "C_CreateObject", e));
    *out_object = (struct tok_object){.session = m->s, .handle = handle};
    return ERR_OK;
}

/* Check values, then the token object. */
static enum err_code keep(const struct make *m, const struct tok_object *made,
                          struct tok_key_record *out_record, struct err *e)
{
    const struct tok_key_name *name = m->name;
    struct tok_key_record record = {.has_left = m->left != NULL, .has_state = true};
    TRY(tok_object_kcv(m->s, made->handle, name->suite, record.kcv, TOK_KCV_BYTES, e));
    TRY(tok_expect_kcv(record.kcv, m->expected, e));
    TRY(tok_role_check(m->s, made->handle, name->role, name->suite, record.check, e));

    if (m->left != NULL)
        memcpy(record.left, m->left->check, sizeof record.left);
    char id[TOK_RECORD_BYTES];
    tok_record_text(&record, m->label, id);
    struct tok_template t = {0};
    tok_template_bool(&t, CKA_TOKEN, true);
    tok_template_bool(&t, CKA_PRIVATE, true);
    if (m->closes)
        tok_template_bool(&t, CKA_EXTRACTABLE, false);
    tok_template_bool(&t, showing_use(name->suite), role_has(name, showing_use(name->suite)));
    tok_template_bytes(&t, CKA_LABEL, m->label, strlen(m->label));
    tok_template_bytes(&t, CKA_ID, id, strlen(id));
    tok_template_bool(&t, CKA_MODIFIABLE, false); /* last: SoftHSM sets attributes in this order */
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(m->s->fn->C_CopyObject(m->s->handle, made->handle, t.rows, t.count, &handle), "C_CopyObject",
               e));
    *out_record = record;
    return ERR_OK;
}

/* ---- Where the value comes from ---- */

struct source {
    const uint8_t *value; /* NULL: the token's generator */
    size_t len;
    CK_OBJECT_HANDLE base;           /* or what it derives from this key and `value` */
    const struct tok_unwrap *unwrap; /* or what comes out of this */
};

enum err_code tok_expect_kcv(const uint8_t kcv[TOK_KCV_BYTES], const uint8_t *expected, struct err *e)
{
    if (expected == NULL || secret_equal(kcv, expected, TOK_KCV_BYTES))
        return ERR_OK;
    return err_set(e, ERR_CHECK, "KCV: the key has the check value %02X%02X%02X, not %02X%02X%02X", kcv[0],
                   kcv[1], kcv[2], expected[0], expected[1], expected[2]);
}

static enum err_code make_by_unwrap(const struct make *m, const struct tok_unwrap *unwrap,
                                    struct tok_object *out_object, struct err *e)
{
    struct tok_template t;
    CK_MECHANISM mechanism = unwrap->mechanism;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    making_template(m, &t);
    TRY(tok_rv(m->s->fn->C_UnwrapKey(m->s->handle, &mechanism, unwrap->key,
                                     (CK_BYTE_PTR)(uintptr_t)unwrap->wrapped, unwrap->len, t.rows, t.count,
                                     &handle),
               "C_UnwrapKey", e));
    *out_object = (struct tok_object){.session = m->s, .handle = handle};
    return ERR_OK;
}

static enum err_code make_by_source(const struct make *m, const struct source *source,
                                    struct tok_object *out_object, struct err *e)
{
    CK_ATTRIBUTE_TYPE uses[USES_MOST];
    if (source->unwrap != NULL)
        return make_by_unwrap(m, source->unwrap, out_object, e);
    if (source->base != CK_INVALID_HANDLE) {
        making_uses(m, uses);
        const struct tok_derive_request request = {.base_suite = TOK_TDES,
                                                   .base = source->base,
                                                   .data = source->value,
                                                   .len = source->len,
                                                   .type = CKK_DES2,
                                                   .uses = uses};
        return tok_derive_data(m->s, &request, out_object, e);
    }
    if (source->value != NULL)
        return make_by_value(m, source->value, source->len, out_object, e);
    return make_by_generator(m, out_object, e);
}

static enum err_code make_once(const struct make *m, const struct source *source,
                               struct tok_key_record *out_record, struct err *e)
{
    AUTO(tok_object) made = {0};
    TRY(make_by_source(m, source, &made, e));
    return keep(m, &made, out_record, e);
}

/* Tokens that do not know an attribute fail in ways of their own (NSS: CKR_GENERAL_ERROR), so any failure of
 * the hardened form is answered by the plain one. */
static enum err_code make_and_keep(struct make *m, const struct source *source,
                                   struct tok_key_record *out_record, struct err *e)
{
    m->hardened = true;
    if (make_once(m, source, out_record, e) == ERR_OK)
        return ERR_OK;
    m->hardened = false;
    return make_once(m, source, out_record, e);
}

static struct make make_of(struct tok_session *s, const struct tok_key_name *name, bool left)
{
    struct make m = {.s = s, .name = name};
    tok_key_label(name, m.label);
    if (left)
        memcpy(m.label + strlen(m.label), TOK_LEFT_SUFFIX, sizeof TOK_LEFT_SUFFIX);
    return m;
}

static bool has_left(const struct tok_key_name *name)
{
    return name->role == TOK_ZONE_MAC && name->suite == TOK_TDES;
}

/* K1||K1 first: a key is never there without its half. */
static enum err_code keep_pair(struct tok_session *s, const struct tok_key_name *name,
                               const struct source sources[2], struct tok_key_record *out_record,
                               struct err *e)
{
    struct tok_key_record half;
    struct make left = make_of(s, name, true), key = make_of(s, name, false);
    TRY(make_and_keep(&left, &sources[1], &half, e));
    key.left = &half;
    return make_and_keep(&key, &sources[0], out_record, e);
}

/* K1||K2 and K1||K1 with no value outside: K = E_B(R1), E_B(R2) under a throw-away B. */
static enum err_code generate_pair(struct tok_session *s, const struct tok_key_name *name,
                                   struct tok_key_record *out_record, struct err *e)
{
    uint8_t random[16], twice[16];
    struct tok_template t;
    AUTO(tok_object) base = {0};
    CK_MECHANISM generate = {.mechanism = CKM_DES2_KEY_GEN};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    tok_template_secret(&t, CKK_DES2, TOK_USES(CKA_DERIVE));
    TRY(tok_rv(s->fn->C_GenerateKey(s->handle, &generate, t.rows, t.count, &handle), "C_GenerateKey", e));
    base = (struct tok_object){.session = s, .handle = handle};
    TRY(tok_random(s, random, sizeof random, e));
    memcpy(twice, random, 8);
    memcpy(twice + 8, random, 8);
    const struct source sources[2] = {{random, sizeof random, handle}, {twice, sizeof twice, handle}};
    const enum err_code code = keep_pair(s, name, sources, out_record, e);
    secret_wipe(random, sizeof random);
    secret_wipe(twice, sizeof twice);
    return code;
}

static enum err_code import_pair(struct tok_session *s, const struct tok_key_name *name,
                                 const struct secret *value, struct tok_key_record *out_record, struct err *e)
{
    AUTO(secret) twice = {0};
    TRY(secret_init_copy(&twice, value->bytes, value->len, e));
    memcpy(twice.bytes + 8, value->bytes, 8);
    const struct source sources[2] = {{value->bytes, value->len, 0}, {twice.bytes, twice.len, 0}};
    return keep_pair(s, name, sources, out_record, e);
}

/* ---- Outside ---- */

/* The name is free; what a broken attempt left behind goes. The caller holds the lock: two ceremonies at once
 * would each find the name free, and a token with two keys of one name serves nobody. */
static enum err_code make_room(struct tok_session *s, const struct tok_key_name *name, struct err *e)
{
    CK_OBJECT_HANDLE found[4];
    size_t count = 0;
    const struct make key = make_of(s, name, false), left = make_of(s, name, true);
    TRY(tok_objects_labelled(s, key.label, found, 4, &count, e));
    if (count > 0)
        return err_set(e, ERR_EXISTS, "%s exists; make the next version", key.label);
    TRY(tok_objects_labelled(s, left.label, found, 4, &count, e));
    for (size_t i = 0; i < count; i++)
        TRY(tok_rv(s->fn->C_DestroyObject(s->handle, found[i]), "C_DestroyObject", e));
    return tok_stamps_destroy(s, key.label, TOK_GENERATIONS + 1, e);
}

/* A key that is being made, from the lock to its stamp. */
struct making {
    struct tok_lock lock;
    struct tok_session rw;
    struct tok_stamp stamp;
    struct tok_key_record record;
    char label[TOK_LABEL_BYTES];
};

static void making_drop(struct making *m)
{
    tok_session_drop(&m->rw);
    tok_lock_drop(&m->lock);
}

static enum err_code start_making(struct tok *tok, const struct tok_key_name *name, enum tok_key_state state,
                                  struct making *m, struct err *e)
{
    if (state != TOK_KEY_PRE_ACTIVE && state != TOK_KEY_ACTIVE)
        return err_set(e, ERR_INPUT, "a new key is pre-active or active");
    m->stamp = tok_stamp_first(state);
    tok_key_label(name, m->label);
    TRY(tok_lock_take(tok->lock_path, &m->lock, e));
    TRY(tok_session_open_rw(tok, &m->rw, e));
    TRY(make_room(&m->rw, name, e));
    return tok_stamp_keep(&m->rw, m->label, &m->stamp, e); /* first: no key is ever without its state */
}

/* `code`: how the making of the key went. */
static enum err_code end_making(struct making *m, const struct tok_key_name *name, enum err_code code,
                                struct tok_key_info *out_info)
{
    struct err ignored = {0};
    if (code != ERR_OK) { /* a stamp that stays is no key, and the next attempt clears it away */
        (void)!tok_stamps_destroy(&m->rw, m->label, TOK_GENERATIONS + 1, &ignored);
        return code;
    }
    *out_info = (struct tok_key_info){.name = *name,
                                      .has_kcv = !tok_role_is_pair(name->role),
                                      .state = m->stamp.state,
                                      .created_s = m->stamp.created_s,
                                      .activated_s = m->stamp.activated_s};
    memcpy(out_info->label, m->label, sizeof out_info->label);
    memcpy(out_info->kcv, m->record.kcv, sizeof out_info->kcv);
    return ERR_OK;
}

static enum err_code generate(struct making *m, const struct tok_key_name *name, struct err *e)
{
    if (tok_role_is_pair(name->role))
        return tok_pair_generate(&m->rw, name, m->label, e);
    if (has_left(name)) { /* or a token that cannot derive: then there is no left half */
        const enum err_code code = generate_pair(&m->rw, name, &m->record, e);
        if (code != ERR_UNSUPPORTED)
            return code;
    }
    struct make key = make_of(&m->rw, name, false);
    return make_and_keep(&key, &(struct source){0}, &m->record, e);
}

enum err_code tok_key_generate(struct tok *tok, const struct tok_key_name *name, enum tok_key_state state,
                               struct tok_key_info *out_info, struct err *e)
{
    AUTO(making) making = {0};
    TRY(tok_key_check_name(name, e));
    TRY(start_making(tok, name, state, &making, e));
    return end_making(&making, name, generate(&making, name, e), out_info);
}

void tok_force_odd_parity(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((bytes[i] & 0xFE) | !__builtin_parity(bytes[i] & 0xFE));
}

enum err_code tok_key_check_value(const struct tok_key_name *name, struct secret *value, struct err *e)
{
    const size_t want = tok_key_bytes(name->role, name->suite);
    if (value->len != want)
        return err_set(e, ERR_INPUT, "a %s key of suite %s has %zu bytes, not %zu", tok_role_name(name->role),
                       tok_suite_name(name->suite), want, value->len);
    if (name->suite != TOK_TDES)
        return ERR_OK;
    tok_force_odd_parity(value->bytes, value->len);
    if (secret_equal(value->bytes, value->bytes + 8, 8))
        return err_set(e, ERR_INPUT, "both halves of the TDES key are equal: that is single DES");
    return ERR_OK;
}

static enum err_code import(struct making *m, const struct tok_key_name *name, const struct secret *value,
                            struct err *e)
{
    if (has_left(name))
        return import_pair(&m->rw, name, value, &m->record, e);
    struct make key = make_of(&m->rw, name, false);
    return make_and_keep(&key, &(struct source){.value = value->bytes, .len = value->len}, &m->record, e);
}

enum err_code tok_key_import(struct tok *tok, const struct tok_key_name *name, const struct secret *value,
                             enum tok_key_state state, struct tok_key_info *out_info, struct err *e)
{
    AUTO(making) making = {0};
    AUTO(secret) sound = {0};
    TRY(tok_key_check_name(name, e));
    if (tok_role_is_pair(name->role))
        return err_set(e, ERR_UNSUPPORTED, "%s keys are generated in the token, never loaded",
                       tok_role_name(name->role));
    TRY(secret_init_copy(&sound, value->bytes, value->len, e));
    TRY(tok_key_check_value(name, &sound, e));
    TRY(start_making(tok, name, state, &making, e));
    return end_making(&making, name, import(&making, name, &sound, e), out_info);
}

enum err_code tok_key_unwrap(struct tok *tok, const struct tok_key_name *name, enum tok_key_state state,
                             const struct tok_unwrap *unwrap, struct tok_key_info *out_info, struct err *e)
{
    AUTO(making) making = {0};
    const struct source source = {.unwrap = unwrap};
    TRY(start_making(tok, name, state, &making, e));
    struct make key = make_of(&making.rw, name, false);
    key.expected = unwrap->expected_kcv;
    return end_making(&making, name, make_and_keep(&key, &source, &making.record, e), out_info);
}

enum err_code tok_key_try_unwrap(struct tok *tok, const struct tok_key_name *name,
                                 const struct tok_unwrap *unwrap, uint8_t out_kcv[TOK_KCV_BYTES],
                                 struct err *e)
{
    AUTO(tok_session) own = {0};
    AUTO(tok_object) object = {0};
    TRY(tok_session_open_rw(tok, &own, e));
    const struct make key = make_of(&own, name, false);
    TRY(make_by_unwrap(&key, unwrap, &object, e));
    TRY(tok_object_kcv(&own, object.handle, name->suite, out_kcv, TOK_KCV_BYTES, e));
    return tok_expect_kcv(out_kcv, unwrap->expected_kcv, e);
}

/* The key is made to be taken out once, and its copy in the token can be taken out no more. */
static enum err_code make_to_export(struct making *m, const struct tok_key_name *name,
                                    const struct tok_wrap *wrap, uint8_t *out_wrapped, size_t *out_len,
                                    struct err *e)
{
    struct make key = make_of(&m->rw, name, false);
    struct tok_template t;
    CK_MECHANISM generate = {.mechanism = name->suite == TOK_TDES ? CKM_DES2_KEY_GEN : CKM_AES_KEY_GEN};
    CK_MECHANISM mechanism = {.mechanism = wrap->mechanism};
    CK_ULONG len = TOK_WRAPPED_KEY_BYTES;
    AUTO(tok_object) made = {0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    making_template(&key, &t);
    tok_template_bool(&t, CKA_EXTRACTABLE, true);
    if (name->suite != TOK_TDES)
        tok_template_number(&t, CKA_VALUE_LEN, tok_key_bytes(name->role, name->suite));
    TRY(tok_rv(m->rw.fn->C_GenerateKey(m->rw.handle, &generate, t.rows, t.count, &handle), "C_GenerateKey",
               e));
    made = (struct tok_object){.session = &m->rw, .handle = handle};
    TRY(tok_rv(m->rw.fn->C_WrapKey(m->rw.handle, &mechanism, wrap->key, handle, out_wrapped, &len),
               "C_WrapKey", e));
    *out_len = len;
    key.closes = true;
    return keep(&key, &made, &m->record, e);
}

enum err_code tok_key_make_wrapped(struct tok *tok, const struct tok_key_name *name, enum tok_key_state state,
                                   const struct tok_wrap *wrap, struct tok_key_info *out_info,
                                   uint8_t out_wrapped[TOK_WRAPPED_KEY_BYTES], size_t *out_len, struct err *e)
{
    AUTO(making) making = {0};
    TRY(start_making(tok, name, state, &making, e));
    return end_making(&making, name, make_to_export(&making, name, wrap, out_wrapped, out_len, e), out_info);
}

enum err_code tok_value_kcv(struct tok *tok, enum tok_suite suite, const struct secret *value,
                            uint8_t out_kcv[3], struct err *e)
{
    const size_t want = suite == TOK_AES_256 ? 32 : 16;
    if (value->len != want)
        return err_set(e, ERR_INPUT, "a value of suite %s has %zu bytes, not %zu", tok_suite_name(suite),
                       want, value->len);
    AUTO(tok_session) own = {0};
    AUTO(tok_object) object = {0};
    TRY(tok_session_open_rw(tok, &own, e));
    TRY(tok_object_import(&own, key_type(suite), value->bytes, value->len,
                          suite == TOK_TDES ? TOK_USES(CKA_ENCRYPT) : TOK_USES(CKA_SIGN, CKA_ENCRYPT),
                          &object, e));
    return tok_object_kcv(&own, object.handle, suite, out_kcv, TOK_KCV_BYTES, e);
}
