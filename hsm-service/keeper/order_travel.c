/* Orders that bring a key in or hand a new one out. */
#include "hsm-service/keeper/order_travel.h"

#include "base/base64.h"
#include "hsm-service/components.h"
#include "hsm-service/keeper/convert.h"
#include "p11/travel/transport.h"

#include <stdio.h>
#include <string.h>

#define PEM_LINE  64
#define PEM_BYTES (64 + BASE64_TEXT_BYTES(TOK_SPKI_BYTES) + BASE64_TEXT_BYTES(TOK_SPKI_BYTES) / PEM_LINE)

static enum err_code convert_format(Posward__Hsm__V1__KeyFormat format, enum tok_key_format *out_format,
                                    struct err *e)
{
    static const enum tok_key_format formats[] = {
        [POSWARD__HSM__V1__KEY_FORMAT__KEY_FORMAT_RSA_OAEP] = TOK_RSA_OAEP,
        [POSWARD__HSM__V1__KEY_FORMAT__KEY_FORMAT_AES_KEY_WRAP] = TOK_AES_KW,
        [POSWARD__HSM__V1__KEY_FORMAT__KEY_FORMAT_TDES_ECB] = TOK_TDES_CRYPTOGRAM,
        [POSWARD__HSM__V1__KEY_FORMAT__KEY_FORMAT_TR31_B] = TOK_TR31_B,
        [POSWARD__HSM__V1__KEY_FORMAT__KEY_FORMAT_TR31_D] = TOK_TR31_D,
    };
    if (format <= 0 || (size_t)format >= sizeof formats / sizeof formats[0])
        return err_set(e, ERR_INPUT, "format %d does not exist", (int)format);
    *out_format = formats[format];
    return ERR_OK;
}

static enum err_code fill_name(struct keeper_call *call, const struct tok_key_name *name,
                               Posward__Hsm__V1__KeyName **out_name, struct err *e)
{
    ProtobufCMessage *message = NULL;
    TRY(case_message(call, &posward__hsm__v1__key_name__descriptor, &message, e));
    Posward__Hsm__V1__KeyName *const out = (Posward__Hsm__V1__KeyName *)message;
    TRY(arena_text(call->arena, tok_role_name(name->role), &out->role, e));
    TRY(arena_text(call->arena, tok_suite_name(name->suite), &out->suite, e));
    TRY(arena_text(call->arena, name->zone, &out->zone, e));
    out->version = name->version;
    *out_name = out;
    return ERR_OK;
}

/* ---- In, wrapped ---- */

static enum err_code fill_header(struct keeper_call *call, const struct tok_key_block_header *h,
                                 HsmKeyOutcome *out, struct err *e)
{
    ProtobufCMessage *message = NULL;
    char **const optional = arena_take(call->arena, (h->optional_count + 1) * sizeof *optional);
    TRY(case_message(call, &posward__hsm__v1__key_block_header__descriptor, &message, e));
    Posward__Hsm__V1__KeyBlockHeader *const header = (Posward__Hsm__V1__KeyBlockHeader *)message;
    if (optional == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    TRY(arena_text(call->arena, (const char[]){h->version, '\0'}, &header->version, e));
    TRY(arena_text(call->arena, h->usage, &header->usage, e));
    TRY(arena_text(call->arena, (const char[]){h->algorithm, '\0'}, &header->algorithm, e));
    TRY(arena_text(call->arena, (const char[]){h->mode, '\0'}, &header->mode, e));
    TRY(arena_text(call->arena, h->key_version, &header->key_version, e));
    TRY(arena_text(call->arena, (const char[]){h->exportability, '\0'}, &header->exportability, e));
    for (size_t i = 0; i < h->optional_count; i++)
        TRY(arena_text(call->arena, h->optional[i], &optional[i], e));
    header->optional_blocks = optional;
    header->n_optional_blocks = h->optional_count;
    out->header = header;
    return ERR_OK;
}

static enum err_code import_wrapped(struct keeper_call *call, struct tok_import *request,
                                    const Posward__Hsm__V1__WrappedSource *source, HsmKeyOutcome *out,
                                    struct err *e)
{
    struct tok_imported imported;
    TRY(convert_format(source->format, &request->format, e));
    TRY(convert_key_name(source->under, "under", &request->under, e));
    request->wrapped = source->wrapped.len > 0 ? source->wrapped.data : NULL;
    request->len = source->wrapped.len;
    request->key_block = source->key_block[0] != '\0' ? source->key_block : NULL;
    TRY(tok_key_import_wrapped(call->tok, request, &imported, e));
    out->grade = convert_grade(imported.grade);
    if (imported.has_header)
        TRY(fill_header(call, &imported.header, out, e));
    return order_tell(call, &imported.info, out, e);
}

/* ---- In, by components ---- */

static enum err_code import_components(struct keeper_call *call, const struct tok_import *request,
                                       const HsmKeyOrder *order, HsmKeyOutcome *out, struct err *e)
{
    AUTO(components) parts = {0};
    AUTO(secret) value = {0};
    struct tok_key_info info = {.name = request->name, .has_kcv = true, .state = request->state};
    enum tok_grade grade;
    uint8_t ignored[3];
    TRY(tok_component_grade(call->tok, &grade, e));
    out->grade = convert_grade(grade);
    if (order->n_components == 0 && order->check_only) /* it is proposed: nobody has submitted one yet */
        return ERR_OK;
    if (order->n_components > COMPONENTS_MOST)
        return err_set(e, ERR_INPUT, "a key has at most %d components", COMPONENTS_MOST);
    parts.key_bytes = tok_key_bytes(request->name.role, request->name.suite);
    for (; parts.count < order->n_components; parts.count++)
        TRY(tok_component_open(call->tok, &request->name, order->components[parts.count].data,
                               order->components[parts.count].len, &parts.parts[parts.count], ignored, e));
    TRY(components_combine(&parts, &value, e));
    TRY(tok_value_kcv(call->tok, request->name.suite, &value, info.kcv, e));
    if (request->kcv != NULL && !secret_equal(info.kcv, request->kcv, sizeof info.kcv))
        return err_set(
            e, ERR_CHECK, "KCV: the components make a key of check value %02X%02X%02X, not %02X%02X%02X",
            info.kcv[0], info.kcv[1], info.kcv[2], request->kcv[0], request->kcv[1], request->kcv[2]);
    tok_key_label(&info.name, info.label);
    if (!order->check_only)
        TRY(tok_key_import(call->tok, &request->name, &value, request->state, &info, e));
    return order_tell(call, &info, out, e);
}

enum err_code order_import(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                           struct err *e)
{
    const Posward__Hsm__V1__ImportKey *const action = order->import;
    struct tok_import request = {.state = action->pre_active ? TOK_KEY_PRE_ACTIVE : TOK_KEY_ACTIVE,
                                 .kcv = action->kcv.len > 0 ? action->kcv.data : NULL,
                                 .check_only = order->check_only};
    TRY(convert_key_name(action->key, "key", &request.name, e));
    if (action->kcv.len > 0)
        TRY(convert_length(action->kcv.len, "kcv", 3, 3, e));
    TRY(order_new_name(call, &request.name, e));
    if (action->source_case == POSWARD__HSM__V1__IMPORT_KEY__SOURCE_WRAPPED)
        return import_wrapped(call, &request, action->wrapped, out, e);
    if (action->source_case == POSWARD__HSM__V1__IMPORT_KEY__SOURCE_COMPONENTS)
        return import_components(call, &request, order, out, e);
    return err_set(e, ERR_INPUT, "import has neither components nor wrapped: say how the key travels");
}

enum err_code order_component(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                              struct err *e)
{
    const Posward__Hsm__V1__CheckComponent *const action = order->component;
    AUTO(secret) value = {0};
    struct tok_key_name name;
    enum tok_grade grade;
    uint8_t kcv[3];
    TRY(convert_key_name(action->key, "key", &name, e));
    TRY(tok_component_grade(call->tok, &grade, e));
    TRY(tok_component_open(call->tok, &name, action->component.data, action->component.len, &value, kcv, e));
    out->grade = convert_grade(grade);
    return arena_copy(call->arena, kcv, sizeof kcv, &out->kcv, e);
}

/* ---- Out ---- */

enum err_code order_create_exported(struct keeper_call *call, const HsmKeyOrder *order,
                                    const struct tok_key_name *name, HsmKeyOutcome *out, struct err *e)
{
    const Posward__Hsm__V1__ExportTo *const to = order->create->export_to;
    struct tok_export request = {.name = *name,
                                 .state = order->create->pre_active ? TOK_KEY_PRE_ACTIVE : TOK_KEY_ACTIVE};
    struct tok_exported exported;
    ProtobufCMessage *message = NULL;
    TRY(convert_format(to->format, &request.format, e));
    TRY(convert_key_name(to->under, "export_to.under", &request.under, e));
    request.check_only = order->check_only;
    TRY(tok_key_generate_exported(call->tok, &request, &exported, e));
    out->grade = convert_grade(exported.grade);
    if (order->check_only)
        return ERR_OK;
    TRY(case_message(call, &posward__hsm__v1__exported_key__descriptor, &message, e));
    Posward__Hsm__V1__ExportedKey *const key = (Posward__Hsm__V1__ExportedKey *)message;
    key->format = to->format;
    request.under.version = exported.under_version;
    TRY(fill_name(call, &request.under, &key->under, e));
    if (exported.len > 0)
        TRY(arena_copy(call->arena, exported.wrapped, exported.len, &key->wrapped, e));
    else
        TRY(arena_text(call->arena, exported.key_block, &key->key_block, e));
    TRY(arena_copy(call->arena, exported.info.kcv, sizeof exported.info.kcv, &key->kcv, e));
    out->exported = key;
    return order_tell(call, &exported.info, out, e);
}

/* RFC 7468. */
static void write_pem(const uint8_t *der, size_t len, char out_pem[PEM_BYTES])
{
    char text[BASE64_TEXT_BYTES(TOK_SPKI_BYTES)];
    base64_encode(der, len, text);
    size_t at = (size_t)snprintf(out_pem, PEM_BYTES, "-----BEGIN PUBLIC KEY-----\n");
    for (size_t i = 0; i < strlen(text); i += PEM_LINE)
        at += (size_t)snprintf(out_pem + at, PEM_BYTES - at, "%.*s\n", PEM_LINE, text + i);
    snprintf(out_pem + at, PEM_BYTES - at, "-----END PUBLIC KEY-----\n");
}

enum err_code order_transport(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                              struct err *e)
{
    const size_t count = tok_keys_count(call->tok);
    Posward__Hsm__V1__TransportKey **const keys = arena_take(call->arena, (count + 1) * sizeof *keys);
    (void)order;
    if (keys == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    out->transport = keys;
    for (size_t i = 0; i < count; i++) {
        ProtobufCMessage *message = NULL;
        struct tok_key_info info = {0};
        uint8_t der[TOK_SPKI_BYTES];
        char pem[PEM_BYTES];
        size_t len = 0;
        tok_keys_info(call->tok, i, &info);
        if ((info.name.role != TOK_TRANSPORT && info.name.role != TOK_COMPONENT) ||
            info.state != TOK_KEY_ACTIVE)
            continue;
        TRY(tok_pair_spki(call->tok, &info.name, der, &len, e));
        write_pem(der, len, pem);
        TRY(case_message(call, &posward__hsm__v1__transport_key__descriptor, &message, e));
        keys[out->n_transport] = (Posward__Hsm__V1__TransportKey *)message;
        TRY(fill_name(call, &info.name, &keys[out->n_transport]->key, e));
        TRY(arena_text(call->arena, pem, &keys[out->n_transport]->public_key, e));
        out->n_transport++;
    }
    return ERR_OK;
}
