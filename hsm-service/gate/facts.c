#include "hsm-service/gate/facts.h"

#include "hsm-service/gate/blob_head.h"
#include "hsm-service/ipc.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* proto/posward/hsm/v1/hsm.proto */
enum {
    BATCH_ITEMS = 1,
    BATCH_RESULTS = 1,
    RESULT_STATUS = 1,
    REF_BLOB = 1,
    REF_ZONE = 2,
    REF_PSAM = 3,
    ZONE_NAME = 1,
    ZONE_VERSION = 2,
    MAC_DATA = 3,
    PIN_PAN = 5,
    MAKE_PSAM = 1,
    TRANSACTION_PSAM = 6,
    TRANSACTION_MAC = 7,
    TRANSACTION_PIN = 8,
    TRANSACTION_TRACK = 9,
    PART_BLOB = 1,
    PART_DESTINATION = 2,
};

/* ---- Methods ---- */

const char *facts_method(uint16_t method)
{
    const ProtobufCServiceDescriptor *const service = method >> 8 == IPC_DATA_PLANE
                                                          ? &posward__hsm__v1__data_plane__descriptor
                                                          : &posward__hsm__v1__control__descriptor;
    if ((method >> 8 != IPC_DATA_PLANE && method >> 8 != IPC_CONTROL) ||
        (method & 0xFFu) >= service->n_methods)
        return "";
    return service->methods[method & 0xFF].name;
}

bool facts_is_data_plane(uint16_t method)
{
    return method >> 8 == IPC_DATA_PLANE;
}

bool facts_is_batch(uint16_t method)
{
    return facts_is_data_plane(method) && strcmp(facts_method(method), "ProcessBatch") == 0;
}

/* ---- Reading a request ---- */

static void add_zone(struct facts_operation *o, enum facts_part part, struct wire_bytes zone)
{
    const struct wire_bytes name = wire_find(zone, ZONE_NAME).bytes;
    static const uint8_t nothing[1];
    /* A zone without a name is still a zone, not a blob. */
    o->keys[o->key_count++] =
        (struct facts_key){.part = part,
                           .zone = name.data != NULL ? name : (struct wire_bytes){nothing, 0},
                           .zone_version = wire_find(zone, ZONE_VERSION).value};
}

static void add_ref(struct facts_operation *o, enum facts_part part, struct wire_bytes ref)
{
    const struct wire_bytes zone = wire_find(ref, REF_ZONE).bytes, psam = wire_find(ref, REF_PSAM).bytes;
    if (psam.len > 0 && o->psam_number.len == 0)
        o->psam_number = psam;
    if (zone.data != NULL)
        add_zone(o, part, zone);
    else if (ref.data != NULL)
        o->keys[o->key_count++] = (struct facts_key){.part = part, .blob = wire_find(ref, REF_BLOB).bytes};
}

static void read_card(struct facts_operation *o)
{
    o->psam_number = wire_find(o->request, MAKE_PSAM).bytes;
}

static void read_mac(struct facts_operation *o)
{
    add_ref(o, FACTS_PART_MAC, wire_find(o->request, 1).bytes);
    o->mac_data = wire_find(o->request, MAC_DATA).bytes;
}

static void read_pin(struct facts_operation *o)
{
    add_ref(o, FACTS_PART_PIN_SOURCE, wire_find(o->request, 1).bytes);
    add_ref(o, FACTS_PART_PIN_DESTINATION, wire_find(o->request, 2).bytes);
    o->pan = wire_find(o->request, PIN_PAN).bytes;
}

static void read_data(struct facts_operation *o)
{
    add_ref(o, FACTS_PART_DATA, wire_find(o->request, 1).bytes);
}

static void add_part(struct facts_operation *o, enum facts_part part, enum facts_class class,
                     struct wire_bytes message)
{
    if (message.data == NULL)
        return;
    o->classes |= class;
    o->keys[o->key_count++] = (struct facts_key){.part = part, .blob = wire_find(message, PART_BLOB).bytes};
    const struct wire_bytes zone = wire_find(message, PART_DESTINATION).bytes;
    if (class == FACTS_PIN && zone.data != NULL)
        add_zone(o, FACTS_PART_PIN_DESTINATION, zone);
}

static void read_transaction(struct facts_operation *o)
{
    o->psam_number = wire_find(o->request, TRANSACTION_PSAM).bytes;
    add_part(o, FACTS_PART_MAC, FACTS_MAC, wire_find(o->request, TRANSACTION_MAC).bytes);
    add_part(o, FACTS_PART_PIN_SOURCE, FACTS_PIN, wire_find(o->request, TRANSACTION_PIN).bytes);
    add_part(o, FACTS_PART_DATA, FACTS_DATA, wire_find(o->request, TRANSACTION_TRACK).bytes);
}

/* An operation, and its fields in a batch's item and result (0: it is in none). */
static const struct kind_row {
    const char *name;
    unsigned classes;
    uint64_t item, result;
    void (*read)(struct facts_operation *o);
} kinds[FACTS_KIND_COUNT] = {
    [FACTS_DIVERSIFY] = {"DiversifyCardKey", FACTS_KEYS, 0, 0, read_card},
    [FACTS_RESEAL] = {"ResealBlobs", FACTS_KEYS, 0, 0, NULL},
    [FACTS_WORKING_KEYS] = {"GenerateWorkingKeys", FACTS_KEYS, 7, 9, read_card},
    [FACTS_TRANSACTION] = {"ProcessTransaction", 0, 6, 8, read_transaction}, /* as its parts */
    [FACTS_GENERATE_MAC] = {"GenerateMac", FACTS_MAC, 1, 3, read_mac},
    [FACTS_VERIFY_MAC] = {"VerifyMac", FACTS_MAC, 2, 4, read_mac},
    [FACTS_TRANSLATE_PIN] = {"TranslatePin", FACTS_PIN, 3, 5, read_pin},
    [FACTS_ENCRYPT] = {"EncryptData", FACTS_DATA, 4, 6, read_data},
    [FACTS_DECRYPT] = {"DecryptData", FACTS_DATA, 5, 7, read_data},
};

const char *facts_kind_name(enum facts_kind kind)
{
    return kinds[kind].name;
}

static void read_operation(struct facts_operation *o, enum facts_kind kind, struct wire_bytes request)
{
    *o = (struct facts_operation){.kind = kind, .classes = kinds[kind].classes, .request = request};
    if (kinds[kind].read != NULL)
        kinds[kind].read(o);
}

/* The form check has let one operation stand in an item, at most. */
static bool read_item(struct facts_operation *o, struct wire_bytes item)
{
    for (struct wire_field f; wire_take(&item, &f);)
        for (int kind = 0; kind < FACTS_KIND_COUNT; kind++)
            if (kinds[kind].item != 0 && kinds[kind].item == f.number) {
                read_operation(o, (enum facts_kind)kind, f.bytes);
                return true;
            }
    return false;
}

static enum err_code read_batch(struct facts *f, struct wire_bytes request, struct err *e)
{
    f->batch = true;
    f->items = wire_count(request, BATCH_ITEMS);
    if (f->items == 0 || f->items > IPC_PIN_USES_MAX) {
        f->items = 1; /* the keeper refuses it, nothing of it is done: no quota pays for it */
        return ERR_OK;
    }
    f->operations = calloc(f->items, sizeof *f->operations);
    if (f->operations == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a batch");
    uint16_t item = 0;
    for (struct wire_field field; wire_take(&request, &field);) {
        if (field.number != BATCH_ITEMS)
            continue;
        struct facts_operation *const o = &f->operations[f->count];
        if (read_item(o, field.bytes)) {
            o->in_batch = true;
            o->item = item;
            f->count++;
        }
        item++;
    }
    return ERR_OK;
}

enum err_code facts_read(uint16_t method, struct wire_bytes request, struct facts *out_facts, struct err *e)
{
    struct facts *const f = out_facts;
    *f = (struct facts){.method = method, .items = 1};
    const char *const name = facts_is_data_plane(method) ? facts_method(method) : "";
    if (facts_is_batch(method))
        return read_batch(f, request, e);
    for (int kind = 0; kind < FACTS_KIND_COUNT; kind++)
        if (strcmp(name, kinds[kind].name) == 0) {
            read_operation(&f->one, (enum facts_kind)kind, request);
            f->operations = &f->one;
            f->count = 1;
        }
    return ERR_OK;
}

void facts_drop(struct facts *f)
{
    if (f->batch)
        free(f->operations);
    f->operations = NULL;
    f->count = 0;
}

void facts_terminal(const struct facts_operation *o, char out_number[FACTS_PSAM_BYTES])
{
    struct blob_head head;
    out_number[0] = '\0';
    for (size_t i = 0; i < o->key_count; i++)
        if (o->keys[i].part != FACTS_PART_PIN_DESTINATION && blob_head_read(o->keys[i].blob, &head)) {
            memcpy(out_number, head.terminal, FACTS_PSAM_BYTES);
            return;
        }
}

/* ---- What came of them ---- */

struct facts_outcomes facts_outcomes(const struct facts *f, struct wire_bytes response)
{
    return (struct facts_outcomes){.response = response, .batch = f->batch};
}

struct facts_outcome facts_next_outcome(struct facts_outcomes *w, const struct facts_operation *o)
{
    if (!w->batch)
        return (struct facts_outcome){.response = w->response};
    for (struct wire_field f; wire_take(&w->response, &f);) {
        if (f.number != BATCH_RESULTS || w->next++ != o->item)
            continue;
        return (struct facts_outcome){.status = wire_find(f.bytes, RESULT_STATUS).value,
                                      .response = wire_find(f.bytes, kinds[o->kind].result).bytes};
    }
    return (struct facts_outcome){0};
}
