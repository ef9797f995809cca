/* Options to a request: they are collected as JSON, so that rpc/json.h's rules and limits are the only ones.
 */
#include "base/base64.h"
#include "base/hex.h"
#include "base/nearest.h"
#include "rpc/json.h"
#include "run/cli_internal.h"

#include <stdlib.h>
#include <string.h>

#define OPTION_BYTES 96

enum err_code cli_read_file(const char *path, char **out_bytes, size_t *out_len, struct err *e)
{
    const bool standard = strcmp(path, "-") == 0;
    FILE *const file = standard ? stdin : fopen(path, "re");
    if (file == NULL)
        return err_errno(e, "%s", path);
    char *const bytes = malloc(CLI_MAX_INPUT + 1);
    const size_t len = bytes != NULL ? fread(bytes, 1, CLI_MAX_INPUT + 1, file) : 0;
    enum err_code code = ERR_OK;
    if (bytes == NULL)
        code = err_set(e, ERR_INTERNAL, "no memory for %s", path);
    else if (ferror(file))
        code = err_errno(e, "%s", path);
    else if (len > CLI_MAX_INPUT)
        code = err_set(e, ERR_LIMIT, "%s is longer than %d bytes", path, CLI_MAX_INPUT);
    if (!standard)
        (void)fclose(file);
    if (code != ERR_OK) {
        free(bytes);
        return code;
    }
    bytes[len] = '\0';
    *out_bytes = bytes;
    *out_len = len;
    return ERR_OK;
}

static json_t *json_of_bytes(const uint8_t *bytes, size_t len)
{
    char *const text = malloc(BASE64_TEXT_BYTES(len));
    if (text == NULL)
        return NULL;
    base64_encode(bytes, len, text);
    json_t *const json = json_string(text);
    free(text);
    return json;
}

static enum err_code bytes_of_file(const char *path, json_t **out_json, struct err *e)
{
    char *bytes = NULL;
    size_t len = 0;
    TRY(cli_read_file(path, &bytes, &len, e));
    *out_json = json_of_bytes((const uint8_t *)bytes, len);
    free(bytes);
    return ERR_OK;
}

static enum err_code bytes_of_hex(const char *text, json_t **out_json, struct err *e)
{
    const size_t len = strlen(text);
    uint8_t *const bytes = malloc(len / 2 + 1);
    if (bytes == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for bytes");
    const enum err_code code = hex_decode(text, len, bytes, e);
    if (code == ERR_OK)
        *out_json = json_of_bytes(bytes, len / 2);
    free(bytes);
    return code;
}

static enum err_code enum_of(const ProtobufCEnumDescriptor *descriptor, const char *text, json_t **out_json,
                             struct err *e)
{
    const ProtobufCEnumValue *const value = cli_enum_value(descriptor, text);
    if (value != NULL) {
        *out_json = json_string(value->name);
        return ERR_OK;
    }
    char known[160] = "";
    for (unsigned i = 0; i < descriptor->n_values; i++) {
        char name[CLI_ENUM_BYTES];
        cli_enum_short(descriptor, &descriptor->values[i], name);
        if (strcmp(name, "unspecified") == 0)
            continue;
        const size_t len = strlen(known);
        snprintf(known + len, sizeof known - len, "%s%s", len > 0 ? ", " : "", name);
    }
    return err_set(e, ERR_INPUT, "'%.30s' is none of %s", text, known);
}

static enum err_code object_of(const char *text, json_t **out_json, struct err *e)
{
    json_error_t why;
    json_t *const json = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (json == NULL)
        return err_set(e, ERR_INPUT, "no JSON: %s", why.text);
    if (!json_is_object(json)) {
        json_decref(json);
        return err_set(e, ERR_INPUT, "must be an object: {...}");
    }
    *out_json = json;
    return ERR_OK;
}

static enum err_code bool_of(const char *text, json_t **out_json, struct err *e)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return err_set(e, ERR_INPUT, "must be true or false");
    *out_json = json_boolean(text[0] == 't');
    return ERR_OK;
}

/* Numbers stay text, which the JSON mapping accepts for every number. */
static enum err_code value_of(const ProtobufCFieldDescriptor *field, const char *text, json_t **out_json,
                              struct err *e)
{
    if (field->type == PROTOBUF_C_TYPE_BYTES && text[0] == '@')
        TRY(bytes_of_file(text + 1, out_json, e));
    else if (field->type == PROTOBUF_C_TYPE_BYTES)
        TRY(bytes_of_hex(text, out_json, e));
    else if (field->type == PROTOBUF_C_TYPE_ENUM)
        TRY(enum_of(field->descriptor, text, out_json, e));
    else if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        TRY(object_of(text, out_json, e));
    else if (field->type == PROTOBUF_C_TYPE_BOOL)
        TRY(bool_of(text, out_json, e));
    else
        *out_json = json_string(text);
    return *out_json != NULL ? ERR_OK : err_set(e, ERR_INPUT, "no UTF-8 text");
}

/* "terminal-id" of an option, `len` characters, is field terminal_id. */
static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *descriptor,
                                                const char *option, size_t len)
{
    char name[OPTION_BYTES];
    if (len >= sizeof name)
        return NULL;
    for (size_t i = 0; i < len; i++)
        name[i] = option[i] == '-' ? '_' : option[i];
    name[len] = '\0';
    return protobuf_c_message_descriptor_get_field_by_name(descriptor, name);
}

static void say_unknown(const ProtobufCMessageDescriptor *descriptor, const char *option, struct err *e)
{
    struct nearest near = {.word = option};
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        char name[OPTION_BYTES];
        snprintf(name, sizeof name, "%s", descriptor->fields[i].name);
        for (char *c = name; *c != '\0'; c++)
            *c = *c == '_' ? '-' : *c;
        nearest_offer(&near, name);
    }
    const char *const meant = nearest_found(&near);
    if (meant == NULL)
        (void)err_set(e, ERR_INPUT, "unknown option --%.60s; see --help", option);
    else
        (void)err_set(e, ERR_INPUT, "unknown option --%.60s; did you mean --%s?", option, meant);
}

/* Walk "device.terminal-id" down to the object that gets the value and the field that it is. */
static enum err_code find_place(const ProtobufCMessageDescriptor *descriptor, const char *option,
                                json_t **object, const ProtobufCFieldDescriptor **out_field, struct err *e)
{
    const char *const dot = strchr(option, '.');
    const size_t len = dot != NULL ? (size_t)(dot - option) : strlen(option);
    const ProtobufCFieldDescriptor *const field = field_of(descriptor, option, len);
    if (field == NULL) {
        say_unknown(descriptor, option, e);
        return ERR_INPUT;
    }
    if (dot == NULL) {
        *out_field = field;
        return ERR_OK;
    }
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label == PROTOBUF_C_LABEL_REPEATED)
        return err_set(e, ERR_INPUT, "--%.*s has no fields of its own", (int)len, option);
    json_t *inner = json_object_get(*object, field->name);
    if (inner == NULL) {
        inner = json_object();
        if (json_object_set_new(*object, field->name, inner) != 0)
            return err_set(e, ERR_INTERNAL, "no memory for JSON");
    }
    *object = inner;
    return find_place(field->descriptor, dot + 1, object, out_field, e);
}

static enum err_code put_value(json_t *object, const ProtobufCFieldDescriptor *field, json_t *value,
                               struct err *e)
{
    json_t *const old = json_object_get(object, field->name);
    if (field->label == PROTOBUF_C_LABEL_REPEATED && old != NULL)
        return json_array_append(old, value) == 0 ? ERR_OK : err_set(e, ERR_INTERNAL, "no memory for JSON");
    if (old != NULL)
        return err_set(e, ERR_INPUT, "given twice");
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return json_object_set(object, field->name, value) == 0
                   ? ERR_OK
                   : err_set(e, ERR_INTERNAL, "no memory for JSON");
    json_t *const list = json_pack("[O]", value);
    return json_object_set_new(object, field->name, list) == 0
               ? ERR_OK
               : err_set(e, ERR_INTERNAL, "no memory for JSON");
}

static enum err_code set_field(json_t *object, const ProtobufCFieldDescriptor *field, const char *option,
                               const char *text, struct err *e)
{
    json_t *value = NULL;
    enum err_code code = value_of(field, text, &value, e);
    if (code == ERR_OK)
        code = put_value(object, field, value, e);
    json_decref(value);
    if (code != ERR_OK)
        (void)err_context(e, "--%s", option);
    return code;
}

/* One argument, or two when the value stands apart; *at moves behind them. A bool may stand without a value.
 */
static enum err_code take_option(const ProtobufCMessageDescriptor *descriptor, json_t *root, char **argv,
                                 int *at, struct err *e)
{
    char option[OPTION_BYTES];
    const char *const given = argv[*at] + 2;
    const size_t len = strcspn(given, "=");
    if (len >= sizeof option)
        return err_set(e, ERR_INPUT, "unknown option --%.60s...", given);
    memcpy(option, given, len);
    option[len] = '\0';
    (*at)++;
    json_t *object = root;
    const ProtobufCFieldDescriptor *field = NULL;
    TRY(find_place(descriptor, option, &object, &field, e));
    if (given[len] == '=')
        return set_field(object, field, option, given + len + 1, e);
    const char *const next = argv[*at];
    const bool is_bool = field->type == PROTOBUF_C_TYPE_BOOL;
    if (is_bool && (next == NULL || (strcmp(next, "true") != 0 && strcmp(next, "false") != 0)))
        return set_field(object, field, option, "true", e);
    if (next == NULL)
        return err_set(e, ERR_INPUT, "--%s needs a value", option);
    (*at)++;
    return set_field(object, field, option, next, e);
}

static enum err_code take_all(const ProtobufCMessageDescriptor *descriptor, const char *positional,
                              char **argv, json_t *root, struct err *e)
{
    for (int at = 0; argv[at] != NULL;) {
        if (strncmp(argv[at], "--", 2) == 0 && argv[at][2] != '\0') {
            TRY(take_option(descriptor, root, argv, &at, e));
            continue;
        }
        const ProtobufCFieldDescriptor *const field =
            positional != NULL ? protobuf_c_message_descriptor_get_field_by_name(descriptor, positional)
                               : NULL;
        if (field == NULL ||
            (json_object_get(root, field->name) != NULL && field->label != PROTOBUF_C_LABEL_REPEATED))
            return err_set(e, ERR_INPUT, "'%.40s' is one argument too many; see --help", argv[at]);
        TRY(set_field(root, field, positional, argv[at], e));
        at++;
    }
    return ERR_OK;
}

enum err_code cli_request_read(const ProtobufCMessageDescriptor *descriptor, const char *positional,
                               char **argv, ProtobufCMessage **out_request, struct err *e)
{
    json_t *const root = json_object();
    if (root == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for JSON");
    enum err_code code = take_all(descriptor, positional, argv, root, e);
    if (code == ERR_OK)
        code = rpc_json_to_message(root, descriptor, out_request, e);
    json_decref(root);
    return code;
}
