#include "hsm-service/front/facts.h"

#include "hsm-service/ipc.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PSAM_DIGITS_MOST 20
#define ZONE_MOST        31

/* ---- Protobuf's wire format ---- */

struct field {
    uint64_t number; /* which field */
    uint64_t value;  /* of a varint */
    struct facts_bytes bytes;
};

static bool take_varint(struct facts_bytes *b, uint64_t *out_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && b->len > 0; shift += 7) {
        const uint8_t byte = *b->data++;
        b->len--;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out_value = value;
            return true;
        }
    }
    return false;
}

static bool take_bytes(struct facts_bytes *b, uint64_t len, struct facts_bytes *out_bytes)
{
    if (len > b->len)
        return false;
    *out_bytes = (struct facts_bytes){b->data, (size_t)len};
    b->data += len;
    b->len -= (size_t)len;
    return true;
}

/* The next field; false at the end and where the bytes make no sense. */
static bool take_field(struct facts_bytes *b, struct field *out_field)
{
    uint64_t tag = 0, len = 0;
    struct field f = {0};
    if (!take_varint(b, &tag))
        return false;
    f.number = tag >> 3;
    switch (tag & 7) {
    case 0:
        if (!take_varint(b, &f.value))
            return false;
        break;
    case 1:
        if (!take_bytes(b, 8, &f.bytes))
            return false;
        break;
    case 2:
        if (!take_varint(b, &len) || !take_bytes(b, len, &f.bytes))
            return false;
        break;
    case 5:
        if (!take_bytes(b, 4, &f.bytes))
            return false;
        break;
    default:
        return false;
    }
    *out_field = f;
    return true;
}

/* The last field of that number, as protobuf has it; zeroes when there is none. */
static struct field find(struct facts_bytes message, uint64_t number)
{
    struct field f, found = {0};
    while (take_field(&message, &f))
        if (f.number == number)
            found = f;
    return found;
}

static size_t count(struct facts_bytes message, uint64_t number)
{
    struct field f;
    size_t n = 0;
    while (take_field(&message, &f))
        n += f.number == number;
    return n;
}

/* The field of that number and index of its kind. */
static struct field nth(struct facts_bytes message, uint64_t number, size_t index)
{
    struct field f;
    while (take_field(&message, &f))
        if (f.number == number && index-- == 0)
            return f;
    return (struct field){0};
}

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

static bool is_working_item(struct facts_bytes item)
{
    struct field f;
    while (take_field(&item, &f))
        if (f.number == ITEM_WORKING_KEYS)
            return true;
    return false;
}

bool facts_makes_keys(uint16_t method, struct facts_bytes request)
{
    struct field f;
    if (is_method(method, "DiversifyCardKey") || is_method(method, "GenerateWorkingKeys"))
        return true;
    while (is_method(method, "ProcessBatch") && take_field(&request, &f))
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
static void add_psam(struct audit_record *r, struct facts_bytes number)
{
    for (size_t i = 0; i < number.len; i++)
        if (number.data[i] < '0' || number.data[i] > '9')
            return;
    if (number.len >= 16 && number.len <= PSAM_DIGITS_MOST)
        snprintf(r->note, sizeof r->note, "psam=%.*s", (int)number.len, (const char *)number.data);
}

static void diversify(struct facts_bytes request, struct facts_bytes response, struct audit_record *r)
{
    const uint64_t suite = find(request, 2).value, used = find(response, 4).value;
    const bool pboc = find(request, 4).value == 2;
    add_master(r, "psam-master", suite, used != 0 ? used : find(request, 3).value);
    add_master(r, "card-control", pboc ? 1 : 3, find(request, 5).value);
    add_psam(r, find(request, 1).bytes);
    set_grade(r, find(response, 5).value);
}

static void working_keys(struct facts_bytes request, struct facts_bytes response, struct audit_record *r)
{
    add_master(r, "psam-master", find(request, 2).value, find(request, 3).value);
    add_psam(r, find(request, 1).bytes);
    const size_t at = strlen(r->note);
    snprintf(r->note + at, sizeof r->note - at, "%skeys=%zu", at > 0 ? " " : "", count(request, 4));
    set_grade(r, find(response, 2).value);
}

static void add_ref(struct audit_record *r, struct facts_bytes ref)
{
    char version[24], zone[3 * ZONE_MOST + 1];
    const struct field named = find(ref, 2);
    if (named.bytes.data == NULL) {
        if (ref.data != NULL)
            add_key(r, "blob");
        return;
    }
    const struct facts_bytes name = find(named.bytes, 1).bytes;
    version_text(find(named.bytes, 2).value, version);
    audit_text((const char *)name.data, name.len < ZONE_MOST ? name.len : ZONE_MOST, zone, sizeof zone);
    add_key(r, "zone/%s/%s", zone, version);
}

static void transaction(struct facts_bytes request, struct audit_record *r)
{
    const struct facts_bytes mac = find(request, 1).bytes, pin = find(request, 2).bytes,
                             track = find(request, 3).bytes;
    add_ref(r, find(mac, 1).bytes);
    add_ref(r, find(pin, 1).bytes);
    add_ref(r, find(pin, 2).bytes);
    add_ref(r, find(track, 1).bytes);
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

static void other_use(uint16_t method, struct facts_bytes request, struct facts_bytes response,
                      struct audit_record *r)
{
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++) {
        if (!is_method(method, uses[i].name))
            continue;
        for (unsigned ref = 1; ref <= uses[i].refs; ref++)
            add_ref(r, find(request, ref).bytes);
        set_grade(r, find(response, uses[i].grade).value);
    }
    if (is_method(method, "ProcessTransaction"))
        transaction(request, r);
    if (is_method(method, "ProcessBatch"))
        snprintf(r->note, sizeof r->note, "items=%zu", count(request, BATCH_ITEMS));
}

static struct audit_record start_record(const char *what)
{
    struct audit_record r = {.kind = AUDIT_USE};
    snprintf(r.what, sizeof r.what, "%s", what);
    return r;
}

static size_t batch_of_keys(struct facts_bytes request, struct facts_bytes response,
                            struct audit_record *out_records, size_t capacity)
{
    size_t n = 0, index = 0;
    struct field f;
    while (n < capacity && take_field(&request, &f)) {
        if (f.number != BATCH_ITEMS)
            continue;
        const struct facts_bytes result = nth(response, BATCH_RESULTS, index++).bytes;
        if (!is_working_item(f.bytes))
            continue;
        out_records[n] = start_record("ProcessBatch/GenerateWorkingKeys");
        working_keys(find(f.bytes, ITEM_WORKING_KEYS).bytes, find(result, RESULT_WORKING_KEYS).bytes,
                     &out_records[n]);
        const uint64_t status = find(result, RESULT_STATUS).value;
        if (response.len > 0 && status != 0)
            snprintf(out_records[n].result, sizeof out_records[n].result, "status %" PRIu64, status);
        n++;
    }
    return n;
}

size_t facts_of_call(uint16_t method, struct facts_bytes request, struct facts_bytes response,
                     struct audit_record *out_records, size_t capacity)
{
    if (is_method(method, "ProcessBatch") && facts_makes_keys(method, request))
        return batch_of_keys(request, response, out_records, capacity);
    out_records[0] = start_record(facts_method(method));
    if (is_method(method, "DiversifyCardKey"))
        diversify(request, response, &out_records[0]);
    else if (is_method(method, "GenerateWorkingKeys"))
        working_keys(request, response, &out_records[0]);
    else if (facts_is_data_plane(method))
        other_use(method, request, response, &out_records[0]);
    return 1;
}
