#include "hsm-service/front/facts.h"

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
    ITEM_WORKING_KEYS = 7,
    BATCH_RESULTS = 1,
    RESULT_STATUS = 1,
    RESULT_WORKING_KEYS = 9
};

static bool is_working_item(struct wire_bytes item)
{
    struct wire_field f;
    while (wire_take(&item, &f))
        if (f.number == ITEM_WORKING_KEYS)
            return true;
    return false;
}

bool facts_makes_keys(uint16_t method, struct wire_bytes request)
{
    struct wire_field f;
    if (is_method(method, "DiversifyCardKey") || is_method(method, "GenerateWorkingKeys") ||
        is_method(method, "ResealBlobs"))
        return true;
    while (is_method(method, "ProcessBatch") && wire_take(&request, &f))
        if (f.number == BATCH_ITEMS && is_working_item(f.bytes))
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
    const uint64_t suite = wire_find(request, 2).value, used = wire_find(response, 4).value;
    const bool pboc = wire_find(request, 4).value == 2;
    add_master(r, "psam-master", suite, used != 0 ? used : wire_find(request, 3).value);
    add_master(r, "card-control", pboc ? 1 : 3, wire_find(request, 5).value);
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

static void add_ref(struct audit_record *r, struct wire_bytes ref)
{
    char version[24], zone[3 * ZONE_MOST + 1];
    const struct wire_field named = wire_find(ref, 2);
    if (named.bytes.data == NULL) {
        if (ref.data != NULL)
            add_key(r, "blob");
        return;
    }
    const struct wire_bytes name = wire_find(named.bytes, 1).bytes;
    version_text(wire_find(named.bytes, 2).value, version);
    audit_text((const char *)name.data, name.len < ZONE_MOST ? name.len : ZONE_MOST, zone, sizeof zone);
    add_key(r, "zone/%s/%s", zone, version);
}

static void transaction(struct wire_bytes request, struct audit_record *r)
{
    const struct wire_bytes mac = wire_find(request, 1).bytes, pin = wire_find(request, 2).bytes,
                            track = wire_find(request, 3).bytes;
    add_ref(r, wire_find(mac, 1).bytes);
    add_ref(r, wire_find(pin, 1).bytes);
    add_ref(r, wire_find(pin, 2).bytes);
    add_ref(r, wire_find(track, 1).bytes);
}

/* Where the response has its grade, and how many key references the request starts with. */
static const struct use_row {
    const char *name;
    uint64_t grade;
    unsigned refs;
} uses[] = {
    {"GenerateMac", 2, 1},           {"VerifyMac", 2, 1},   {"TranslatePin", 2, 2},
    {"EncryptData", 2, 1},           {"DecryptData", 2, 1}, {"ProcessTransaction", 4, 0},
    {"ProcessBatch", UINT64_MAX, 0},
};

static void other_use(uint16_t method, struct wire_bytes request, struct wire_bytes response,
                      struct audit_record *r)
{
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++) {
        if (!is_method(method, uses[i].name))
            continue;
        for (unsigned ref = 1; ref <= uses[i].refs; ref++)
            add_ref(r, wire_find(request, ref).bytes);
        set_grade(r, wire_find(response, uses[i].grade).value);
    }
    if (is_method(method, "ProcessTransaction"))
        transaction(request, r);
    if (is_method(method, "ProcessBatch"))
        snprintf(r->note, sizeof r->note, "items=%zu", wire_count(request, BATCH_ITEMS));
}

static struct audit_record start_record(const char *what)
{
    struct audit_record r = {.kind = AUDIT_USE};
    snprintf(r.what, sizeof r.what, "%s", what);
    return r;
}

static size_t batch_of_keys(struct wire_bytes request, struct wire_bytes response,
                            struct audit_record *out_records, size_t capacity)
{
    size_t n = 0, index = 0;
    struct wire_field f;
    while (n < capacity && wire_take(&request, &f)) {
        if (f.number != BATCH_ITEMS)
            continue;
        const struct wire_bytes result = wire_nth(response, BATCH_RESULTS, index++).bytes;
        if (!is_working_item(f.bytes))
            continue;
        out_records[n] = start_record("ProcessBatch/GenerateWorkingKeys");
        working_keys(wire_find(f.bytes, ITEM_WORKING_KEYS).bytes,
                     wire_find(result, RESULT_WORKING_KEYS).bytes, &out_records[n]);
        const uint64_t status = wire_find(result, RESULT_STATUS).value;
        if (response.len > 0 && status != 0)
            snprintf(out_records[n].result, sizeof out_records[n].result, "status %" PRIu64, status);
        n++;
    }
    return n;
}

size_t facts_of_call(uint16_t method, struct wire_bytes request, struct wire_bytes response,
                     struct audit_record *out_records, size_t capacity)
{
    if (is_method(method, "ProcessBatch") && facts_makes_keys(method, request))
        return batch_of_keys(request, response, out_records, capacity);
    out_records[0] = start_record(facts_method(method));
    if (is_method(method, "DiversifyCardKey"))
        diversify(request, response, &out_records[0]);
    else if (is_method(method, "GenerateWorkingKeys"))
        working_keys(request, response, &out_records[0]);
    else if (is_method(method, "ResealBlobs"))
        reseal(request, response, &out_records[0]);
    else if (facts_is_data_plane(method))
        other_use(method, request, response, &out_records[0]);
    return 1;
}
