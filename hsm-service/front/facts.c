#include "hsm-service/front/facts.h"

#include "hsm-service/front/blob_head.h"
#include "hsm-service/ipc.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PSAM_DIGITS_MOST 20
#define ZONE_MOST        31

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

static bool is_method(uint16_t method, const char *name)
{
    return facts_is_data_plane(method) && strcmp(facts_method(method), name) == 0;
}

enum {
    BATCH_ITEMS = 1,
    BATCH_RESULTS = 1,
    RESULT_STATUS = 1,
    TRANSACTION_MAC = 1,
    TRANSACTION_PIN = 2,
    TRANSACTION_TRACK = 3,
    USED_VERSION = 4 /* of a use's answer: of its first key; its second key's field is the next */
};

static void diversify(struct wire_bytes request, struct wire_bytes response, struct audit_record *r);
static void working_keys(struct wire_bytes request, struct wire_bytes response, struct audit_record *r);
static void reseal(struct wire_bytes request, struct wire_bytes response, struct audit_record *r);
static void transaction(struct wire_bytes request, struct wire_bytes response, struct audit_record *r);

/* An operation: its fields in a batch's item and result (0: in none), and what a record says of it. */
static const struct operation_row {
    const char *name;
    unsigned classes;
    uint64_t item, result;
    void (*tell)(struct wire_bytes request, struct wire_bytes response, struct audit_record *r);
    /* Without `tell`: how many key references the request starts with, and where the response has its grade.
     */
    unsigned refs;
    uint64_t grade;
} operations[] = {
    {"DiversifyCardKey", FACTS_KEYS, .tell = diversify},
    {"ResealBlobs", FACTS_KEYS, .tell = reseal},
    {"GenerateWorkingKeys", FACTS_KEYS, .item = 7, .result = 9, .tell = working_keys},
    {"ProcessTransaction", 0, .item = 6, .result = 8, .tell = transaction}, /* classes_of */
    {"GenerateMac", FACTS_MAC, .item = 1, .result = 3, .refs = 1, .grade = 2},
    {"VerifyMac", FACTS_MAC, .item = 2, .result = 4, .refs = 1, .grade = 2},
    {"TranslatePin", FACTS_PIN, .item = 3, .result = 5, .refs = 2, .grade = 2},
    {"EncryptData", FACTS_DATA, .item = 4, .result = 6, .refs = 1, .grade = 2},
    {"DecryptData", FACTS_DATA, .item = 5, .result = 7, .refs = 1, .grade = 2},
};
#define OPERATIONS (sizeof operations / sizeof operations[0])
_Static_assert(OPERATIONS == FACTS_OPERATIONS, "facts.h says how many");

const char *facts_operation_name(size_t index)
{
    return operations[index].name;
}

/* A transaction is what its parts are. */
static unsigned classes_of(const struct operation_row *row, struct wire_bytes request)
{
    unsigned classes = row->classes;
    if (row->tell != transaction)
        return classes;
    for (struct wire_field f; wire_take(&request, &f);)
        classes |= f.number == TRANSACTION_MAC     ? FACTS_MAC
                   : f.number == TRANSACTION_PIN   ? FACTS_PIN
                   : f.number == TRANSACTION_TRACK ? FACTS_DATA
                                                   : 0;
    return classes;
}

static const struct operation_row *row_of_method(uint16_t method)
{
    for (size_t i = 0; i < OPERATIONS; i++)
        if (is_method(method, operations[i].name))
            return &operations[i];
    return NULL;
}

/* The last operation of an item counts, as in protobuf's oneof. */
static const struct operation_row *row_of_item(struct wire_bytes item, struct wire_bytes *out_request)
{
    const struct operation_row *row = NULL;
    for (struct wire_field f; wire_take(&item, &f);)
        for (size_t i = 0; i < OPERATIONS; i++)
            if (operations[i].item != 0 && operations[i].item == f.number) {
                row = &operations[i];
                *out_request = f.bytes;
            }
    return row;
}

struct facts_walk facts_walk(uint16_t method, struct wire_bytes request, struct wire_bytes response)
{
    return (struct facts_walk){.method = method,
                               .request = request,
                               .response = response,
                               .batch = is_method(method, "ProcessBatch")};
}

static struct wire_bytes next_result(struct wire_bytes *results)
{
    for (struct wire_field f; wire_take(results, &f);)
        if (f.number == BATCH_RESULTS)
            return f.bytes;
    return (struct wire_bytes){0};
}

static bool next_item(struct facts_walk *w, struct facts_operation *out)
{
    for (struct wire_field f; wire_take(&w->request, &f);) {
        if (f.number != BATCH_ITEMS)
            continue;
        const struct wire_bytes result = next_result(&w->response);
        const struct operation_row *const row = row_of_item(f.bytes, &out->request);
        if (row == NULL)
            continue;
        out->index = (size_t)(row - operations);
        out->in_batch = true;
        out->response = wire_find(result, row->result).bytes;
        out->status = wire_find(result, RESULT_STATUS).value;
        out->classes = classes_of(row, out->request);
        return true;
    }
    return false;
}

bool facts_next(struct facts_walk *w, struct facts_operation *out_operation)
{
    struct facts_operation o = {.request = w->request, .response = w->response};
    if (w->batch) {
        if (!next_item(w, &o))
            return false;
    } else {
        const struct operation_row *const row = w->done ? NULL : row_of_method(w->method);
        w->done = true;
        if (row == NULL)
            return false;
        o.index = (size_t)(row - operations);
        o.classes = classes_of(row, o.request);
    }
    *out_operation = o;
    return true;
}

bool facts_makes_keys(uint16_t method, struct wire_bytes request)
{
    struct facts_walk walk = facts_walk(method, request, (struct wire_bytes){0});
    struct facts_operation o;
    while (facts_next(&walk, &o))
        if (o.classes & FACTS_KEYS)
            return true;
    return false;
}

/* ---- What they say ---- */

static void set_grade(struct audit_record *r, uint64_t grade)
{
    static const char *const names[] = {"", "IN_TOKEN", "PROCESS_MEMORY"};
    snprintf(r->grade, sizeof r->grade, "%s", grade < sizeof names / sizeof names[0] ? names[grade] : "");
}

__attribute__((format(printf, 2, 3))) static void add_key(struct audit_record *r, const char *format, ...)
{
    const size_t at = strlen(r->key);
    va_list arguments;
    va_start(arguments, format);
    if (at > 0)
        snprintf(r->key + at, sizeof r->key - at, " ");
    const size_t from = strlen(r->key);
    vsnprintf(r->key + from, sizeof r->key - from, format, arguments);
    va_end(arguments);
}

static void version_text(uint64_t version, char out_text[24])
{
    if (version == 0)
        snprintf(out_text, 24, "newest");
    else
        snprintf(out_text, 24, "%" PRIu64, version);
}

static void add_master(struct audit_record *r, const char *role, uint64_t suite, uint64_t version)
{
    char text[24];
    version_text(version, text);
    add_key(r, "%s/%s/%s", role, suite == 1 ? "tdes" : "aes-256", text);
}

/* A field that should be short text; a number that is too long is left out, not cut: it may be what does not
 * belong into a log. */
static void add_psam(struct audit_record *r, struct wire_bytes number)
{
    for (size_t i = 0; i < number.len; i++)
        if (number.data[i] < '0' || number.data[i] > '9')
            return;
    if (number.len >= 16 && number.len <= PSAM_DIGITS_MOST)
        snprintf(r->note, sizeof r->note, "psam=%.*s", (int)number.len, (const char *)number.data);
}

static void diversify(struct wire_bytes request, struct wire_bytes response, struct audit_record *r)
{
    const uint64_t suite = wire_find(request, 2).value, master = wire_find(response, 4).value,
                   control = wire_find(response, 6).value;
    const bool pboc = wire_find(request, 4).value == 2;
    add_master(r, "psam-master", suite, master != 0 ? master : wire_find(request, 3).value);
    add_master(r, "card-control", pboc ? 1 : 3, control != 0 ? control : wire_find(request, 5).value);
    add_psam(r, wire_find(request, 1).bytes);
    set_grade(r, wire_find(response, 5).value);
}

static void working_keys(struct wire_bytes request, struct wire_bytes response, struct audit_record *r)
{
    add_master(r, "psam-master", wire_find(request, 2).value, wire_find(request, 3).value);
    add_psam(r, wire_find(request, 1).bytes);
    const size_t at = strlen(r->note);
    snprintf(r->note + at, sizeof r->note - at, "%skeys=%zu", at > 0 ? " " : "", wire_count(request, 4));
    set_grade(r, wire_find(response, 2).value);
}

/* One record for all blobs of a call, up to 256: who tells them apart is the store that they return to. */
static void reseal(struct wire_bytes request, struct wire_bytes response, struct audit_record *r)
{
    uint64_t storage = 0, changed = 0, failed = 0;
    struct wire_field f;
    while (wire_take(&response, &f)) {
        if (f.number != 1)
            continue;
        const uint64_t version = wire_find(f.bytes, 5).value;
        storage = version != 0 ? version : storage;
        changed += wire_find(f.bytes, 4).value != 0;
        failed += wire_find(f.bytes, 1).value != 0;
    }
    if (storage != 0)
        add_key(r, "storage/aes-256/%" PRIu64, storage);
    snprintf(r->note, sizeof r->note, "blobs=%zu changed=%" PRIu64 " failed=%" PRIu64, wire_count(request, 1),
             changed, failed);
    set_grade(r, changed != 0 ? 1 : 0);
}

/* `used` is the version that the answer says; 0: it says none, and the record says what was asked for. */
static void add_ref(struct audit_record *r, struct wire_bytes ref, uint64_t used)
{
    char version[24], zone[3 * ZONE_MOST + 1];
    const struct wire_field named = wire_find(ref, 2);
    if (named.bytes.data == NULL) {
        struct blob_head head;
        if (blob_head_read(wire_find(ref, 1).bytes, &head))
            add_key(r, "%s/%s/storage/%u", head.usage, head.terminal, head.storage_version);
        else if (ref.data != NULL)
            add_key(r, "blob");
        return;
    }
    const struct wire_bytes name = wire_find(named.bytes, 1).bytes;
    version_text(used != 0 ? used : wire_find(named.bytes, 2).value, version);
    audit_text((const char *)name.data, name.len < ZONE_MOST ? name.len : ZONE_MOST, zone, sizeof zone);
    add_key(r, "zone/%s/%s", zone, version);
}

/* Requests start with their key references. */
static void add_refs(struct audit_record *r, unsigned refs, struct wire_bytes request,
                     struct wire_bytes response)
{
    for (unsigned ref = 1; ref <= refs; ref++)
        add_ref(r, wire_find(request, ref).bytes, wire_find(response, USED_VERSION + ref - 1).value);
}

static void transaction(struct wire_bytes request, struct wire_bytes response, struct audit_record *r)
{
    static const struct {
        uint64_t part; /* its request and its answer have one number */
        unsigned refs;
    } parts[] = {{TRANSACTION_MAC, 1}, {TRANSACTION_PIN, 2}, {TRANSACTION_TRACK, 1}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        add_refs(r, parts[i].refs, wire_find(request, parts[i].part).bytes,
                 wire_find(response, parts[i].part).bytes);
    set_grade(r, wire_find(response, 4).value);
}

struct audit_record facts_record(const struct facts_operation *operation)
{
    const struct operation_row *const row = &operations[operation->index];
    struct audit_record r = {.kind = AUDIT_USE};
    snprintf(r.what, sizeof r.what, "%s%s", operation->in_batch ? "ProcessBatch/" : "", row->name);
    if (row->tell != NULL) {
        row->tell(operation->request, operation->response, &r);
    } else {
        add_refs(&r, row->refs, operation->request, operation->response);
        set_grade(&r, wire_find(operation->response, row->grade).value);
    }
    return r;
}
