/* What the front reads of a call where it lies, against what the keeper will unpack of the same bytes: a byte
 * of method, two of the request's length, the request, the answer. A request whose form rpc lets pass says
 * the same to both, for every method. Every text of a record is one that a line of the audit log may hold. */
#include "hsm-service/front/operations.h"
#include "hsm-service/gate/records.h"
#include "hsm-service/ipc.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "rpc/form.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* ---- Facts of an unpacked message ---- */

static void same_bytes(struct wire_bytes fact, const ProtobufCBinaryData *bytes)
{
    must(fact.len == bytes->len && (fact.len == 0 || memcmp(fact.data, bytes->data, fact.len) == 0));
}

static void same_text(struct wire_bytes fact, const char *text)
{
    must(fact.len == strlen(text) && (fact.len == 0 || memcmp(fact.data, text, fact.len) == 0));
}

/* Facts of keys, one after the other. */
struct keys {
    const struct facts_operation *o;
    size_t next;
};

static void same_zone(struct keys *k, enum facts_part part, const Posward__Hsm__V1__ZoneKey *zone)
{
    must(k->next < k->o->key_count);
    const struct facts_key *const key = &k->o->keys[k->next++];
    must(key->part == part && key->zone.data != NULL && key->blob.data == NULL);
    same_text(key->zone, zone->zone);
    must(key->zone_version == zone->version);
}

static void same_blob(struct keys *k, enum facts_part part, const ProtobufCBinaryData *blob)
{
    must(k->next < k->o->key_count);
    const struct facts_key *const key = &k->o->keys[k->next++];
    must(key->part == part && key->zone.data == NULL);
    same_bytes(key->blob, blob);
}

static void same_ref(struct keys *k, enum facts_part part, const Posward__Hsm__V1__KeyRef *ref)
{
    static const ProtobufCBinaryData none = {0};
    if (ref == NULL)
        return;
    if (ref->key_case == POSWARD__HSM__V1__KEY_REF__KEY_ZONE)
        same_zone(k, part, ref->zone);
    else
        same_blob(k, part, ref->key_case == POSWARD__HSM__V1__KEY_REF__KEY_BLOB ? &ref->blob : &none);
}

static const char *card_of(const Posward__Hsm__V1__KeyRef *first, const Posward__Hsm__V1__KeyRef *second)
{
    if (first != NULL && first->psam_number[0] != '\0')
        return first->psam_number;
    return second != NULL ? second->psam_number : "";
}

static void same_use(struct keys *k, enum facts_part part, const Posward__Hsm__V1__KeyRef *key)
{
    same_ref(k, part, key);
    same_text(k->o->psam_number, card_of(key, NULL));
}

static void same_pin(struct keys *k, const Posward__Hsm__V1__TranslatePinRequest *in)
{
    same_ref(k, FACTS_PART_PIN_SOURCE, in->source);
    same_ref(k, FACTS_PART_PIN_DESTINATION, in->destination);
    same_text(k->o->psam_number, card_of(in->source, in->destination));
    same_text(k->o->pan, in->pan);
}

static void same_transaction(struct keys *k, const Posward__Hsm__V1__ProcessTransactionRequest *in)
{
    unsigned classes = 0;
    if (in->mac != NULL) {
        classes |= FACTS_MAC;
        same_blob(k, FACTS_PART_MAC, &in->mac->blob);
    }
    if (in->pin != NULL) {
        classes |= FACTS_PIN;
        same_blob(k, FACTS_PART_PIN_SOURCE, &in->pin->blob);
        if (in->pin->destination != NULL)
            same_zone(k, FACTS_PART_PIN_DESTINATION, in->pin->destination);
    }
    if (in->track != NULL) {
        classes |= FACTS_DATA;
        same_blob(k, FACTS_PART_DATA, &in->track->blob);
    }
    must(k->o->classes == classes);
    same_text(k->o->psam_number, in->psam_number);
}

static void same_operation(const struct facts_operation *o, enum facts_kind kind,
                           const ProtobufCMessage *message)
{
    struct keys k = {.o = o};
    must(o->kind == kind);
    switch (kind) {
    case FACTS_DIVERSIFY:
        same_text(o->psam_number, ((const Posward__Hsm__V1__DiversifyCardKeyRequest *)message)->psam_number);
        break;
    case FACTS_WORKING_KEYS:
        same_text(o->psam_number,
                  ((const Posward__Hsm__V1__GenerateWorkingKeysRequest *)message)->psam_number);
        break;
    case FACTS_TRANSACTION:
        same_transaction(&k, (const Posward__Hsm__V1__ProcessTransactionRequest *)message);
        break;
    case FACTS_GENERATE_MAC:
        same_use(&k, FACTS_PART_MAC, ((const Posward__Hsm__V1__GenerateMacRequest *)message)->key);
        same_bytes(o->mac_data, &((const Posward__Hsm__V1__GenerateMacRequest *)message)->data);
        break;
    case FACTS_VERIFY_MAC:
        same_use(&k, FACTS_PART_MAC, ((const Posward__Hsm__V1__VerifyMacRequest *)message)->key);
        break;
    case FACTS_TRANSLATE_PIN:
        same_pin(&k, (const Posward__Hsm__V1__TranslatePinRequest *)message);
        break;
    case FACTS_ENCRYPT:
        same_use(&k, FACTS_PART_DATA, ((const Posward__Hsm__V1__EncryptDataRequest *)message)->key);
        break;
    case FACTS_DECRYPT:
        same_use(&k, FACTS_PART_DATA, ((const Posward__Hsm__V1__DecryptDataRequest *)message)->key);
        break;
    case FACTS_RESEAL:
    case FACTS_KIND_COUNT:
        break;
    }
    must(k.next == o->key_count);
}

static enum facts_kind kind_of_item(const Posward__Hsm__V1__BatchItem *item)
{
    static const struct {
        Posward__Hsm__V1__BatchItem__OperationCase operation;
        enum facts_kind kind;
    } rows[] = {
        {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_MAC, FACTS_GENERATE_MAC},
        {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_VERIFY_MAC, FACTS_VERIFY_MAC},
        {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_TRANSLATE_PIN, FACTS_TRANSLATE_PIN},
        {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_ENCRYPT_DATA, FACTS_ENCRYPT},
        {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_DECRYPT_DATA, FACTS_DECRYPT},
        {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_PROCESS_TRANSACTION, FACTS_TRANSACTION},
        {POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_WORKING_KEYS, FACTS_WORKING_KEYS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].operation == item->operation_case)
            return rows[i].kind;
    return FACTS_KIND_COUNT;
}

static void same_batch(const struct facts *facts, const Posward__Hsm__V1__ProcessBatchRequest *batch)
{
    size_t count = 0;
    if (batch->n_items == 0 || batch->n_items > IPC_PIN_USES_MAX) { /* refused: one call's worth of quota */
        must(facts->count == 0 && facts->items == 1);
        return;
    }
    must(facts->items == batch->n_items);
    for (size_t i = 0; i < batch->n_items; i++) {
        const enum facts_kind kind = kind_of_item(batch->items[i]);
        if (kind == FACTS_KIND_COUNT)
            continue;
        must(count < facts->count && facts->operations[count].item == i);
        same_operation(&facts->operations[count++], kind, &batch->items[i]->generate_mac->base);
    }
    must(count == facts->count);
}

static enum facts_kind kind_of_method(const char *name)
{
    for (int kind = 0; kind < FACTS_KIND_COUNT; kind++)
        if (strcmp(facts_kind_name((enum facts_kind)kind), name) == 0)
            return (enum facts_kind)kind;
    return FACTS_KIND_COUNT;
}

static void compare(const struct facts *facts, struct wire_bytes request)
{
    const ProtobufCServiceDescriptor *const service = &posward__hsm__v1__data_plane__descriptor;
    const unsigned index = facts->method & 0xFFU;
    struct err e = {0};
    if (index >= service->n_methods)
        return;
    const ProtobufCMessageDescriptor *const input = service->methods[index].input;
    if (form_check(input, request.data, request.len, &e) != ERR_OK)
        return;
    ProtobufCMessage *const message = protobuf_c_message_unpack(input, NULL, request.len, request.data);
    if (message == NULL)
        return;
    const enum facts_kind kind = kind_of_method(service->methods[index].name);
    if (facts->batch) {
        same_batch(facts, (const Posward__Hsm__V1__ProcessBatchRequest *)message);
    } else {
        must(facts->count == (kind != FACTS_KIND_COUNT));
        if (kind != FACTS_KIND_COUNT)
            same_operation(&facts->operations[0], kind, message);
    }
    protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- Records ---- */

static void check_text(const char *text, size_t capacity)
{
    const size_t len = strnlen(text, capacity);
    must(len < capacity);
    for (size_t i = 0; i < len; i++)
        must(text[i] >= 0x20 && text[i] <= 0x7E && text[i] != '"' && text[i] != '\\');
}

static void check_records(const struct facts *facts, struct wire_bytes response)
{
    struct facts_outcomes outcomes = facts_outcomes(facts, response);
    char terminal[FACTS_PSAM_BYTES];
    for (size_t i = 0; i < facts->count; i++) {
        const struct facts_outcome outcome = facts_next_outcome(&outcomes, &facts->operations[i]);
        const struct audit_record r = records_of(&facts->operations[i], &outcome);
        must(r.kind == AUDIT_USE);
        check_text(r.what, sizeof r.what);
        check_text(r.key, sizeof r.key);
        check_text(r.grade, sizeof r.grade);
        check_text(r.note, sizeof r.note);
        facts_terminal(&facts->operations[i], terminal);
        check_text(terminal, sizeof terminal);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[CKR_NAME_BYTES];
    struct facts facts;
    struct err e = {0};
    if (size < 3)
        return 0;
    const size_t most = size - 3, asked = (size_t)(data[1] << 8 | data[2]), len = asked < most ? asked : most;
    const struct wire_bytes request = {data + 3, len}, response = {data + 3 + len, most - len};
    if (facts_read(IPC_METHOD(IPC_DATA_PLANE, data[0]), request, &facts, &e) != ERR_OK)
        return 0;
    compare(&facts, request);
    check_records(&facts, response);
    facts_drop(&facts);
    if (front_operations_ckr((const char *)data, size, name) != NULL)
        check_text(name, sizeof name);
    return 0;
}
