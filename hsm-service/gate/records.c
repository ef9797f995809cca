#include "hsm-service/gate/records.h"

#include "hsm-service/gate/blob_head.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PSAM_DIGITS_MAX 20
#define ZONE_MAX        31

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
    if (number.len >= 16 && number.len <= PSAM_DIGITS_MAX)
        snprintf(r->note, sizeof r->note, "psam=%.*s", (int)number.len, (const char *)number.data);
}

static void diversify(const struct facts_operation *o, const struct facts_outcome *outcome,
                      struct audit_record *r)
{
    const struct wire_bytes request = o->request, response = outcome->response;
    const uint64_t suite = wire_find(request, 2).value, master = wire_find(response, 4).value,
                   control = wire_find(response, 6).value;
    const bool pboc = wire_find(request, 4).value == 2;
    add_master(r, "psam-master", suite, master != 0 ? master : wire_find(request, 3).value);
    add_master(r, "card-control", pboc ? 1 : 3, control != 0 ? control : wire_find(request, 5).value);
    add_psam(r, o->psam_number);
    set_grade(r, wire_find(response, 5).value);
}

static void working_keys(const struct facts_operation *o, const struct facts_outcome *outcome,
                         struct audit_record *r)
{
    const struct wire_bytes request = o->request;
    add_master(r, "psam-master", wire_find(request, 2).value, wire_find(request, 3).value);
    add_psam(r, o->psam_number);
    const size_t at = strlen(r->note);
    snprintf(r->note + at, sizeof r->note - at, "%skeys=%zu", at > 0 ? " " : "", wire_count(request, 4));
    set_grade(r, wire_find(outcome->response, 2).value);
}

/* One record for all blobs of a call, up to 256: who tells them apart is the store that they return to. */
static void reseal(const struct facts_operation *o, const struct facts_outcome *outcome,
                   struct audit_record *r)
{
    struct wire_bytes response = outcome->response;
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
    snprintf(r->note, sizeof r->note, "blobs=%zu changed=%" PRIu64 " failed=%" PRIu64,
             wire_count(o->request, 1), changed, failed);
    set_grade(r, changed != 0 ? 1 : 0);
}

/* `used` is the version that the answer says; 0: it says none, and the record says what was asked for. */
static void add_used_key(struct audit_record *r, const struct facts_key *key, uint64_t used)
{
    char version[24], zone[3 * ZONE_MAX + 1];
    if (key->zone.data == NULL) {
        struct blob_head head;
        if (blob_head_read(key->blob, &head))
            add_key(r, "%s/%s/storage/%u", head.usage, head.terminal, head.storage_version);
        else
            add_key(r, "blob");
        return;
    }
    version_text(used != 0 ? used : key->zone_version, version);
    audit_text((const char *)key->zone.data, key->zone.len < ZONE_MAX ? key->zone.len : ZONE_MAX, zone,
               sizeof zone);
    add_key(r, "zone/%s/%s", zone, version);
}

/* Where a response says which version of a zone's key was used, by what the key is for. */
enum { USED_FIRST = 4, USED_DESTINATION = 5, USE_GRADE = 2 };

static void use(const struct facts_operation *o, const struct facts_outcome *outcome, struct audit_record *r)
{
    for (size_t i = 0; i < o->key_count; i++) {
        const uint64_t field = o->keys[i].part == FACTS_PART_PIN_DESTINATION ? USED_DESTINATION : USED_FIRST;
        add_used_key(r, &o->keys[i], wire_find(outcome->response, field).value);
    }
    set_grade(r, wire_find(outcome->response, USE_GRADE).value);
}

/* Its keys are blobs but for the PIN's destination. */
static void transaction(const struct facts_operation *o, const struct facts_outcome *outcome,
                        struct audit_record *r)
{
    enum { RESPONSE_PIN = 2, RESPONSE_GRADE = 4 };
    const struct wire_bytes pin = wire_find(outcome->response, RESPONSE_PIN).bytes;
    for (size_t i = 0; i < o->key_count; i++)
        add_used_key(r, &o->keys[i], wire_find(pin, USED_DESTINATION).value);
    set_grade(r, wire_find(outcome->response, RESPONSE_GRADE).value);
}

struct audit_record records_of(const struct facts_operation *o, const struct facts_outcome *outcome)
{
    static void (*const tell[FACTS_KIND_COUNT])(const struct facts_operation *, const struct facts_outcome *,
                                                struct audit_record *) = {
        [FACTS_DIVERSIFY] = diversify,     [FACTS_RESEAL] = reseal,    [FACTS_WORKING_KEYS] = working_keys,
        [FACTS_TRANSACTION] = transaction, [FACTS_GENERATE_MAC] = use, [FACTS_VERIFY_MAC] = use,
        [FACTS_TRANSLATE_PIN] = use,       [FACTS_ENCRYPT] = use,      [FACTS_DECRYPT] = use,
    };
    struct audit_record r = {.kind = AUDIT_USE};
    snprintf(r.what, sizeof r.what, "%s%s", o->in_batch ? "ProcessBatch/" : "", facts_kind_name(o->kind));
    tell[o->kind](o, outcome, &r);
    return r;
}
