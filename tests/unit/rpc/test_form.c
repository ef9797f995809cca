#include "rpc/form.h"

#include "posward/business/v1/business.pb-c.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "posward/hsm/v1/keys.pb-c.h"
#include "posward/posp/v1/posp.pb-c.h"
#include "posward/posv/v1/posv.pb-c.h"
#include "tests/support/suite.h"

#include <kinds.pb-c.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ALL         (&posward__kinds__v1__all__descriptor)
#define BATCH       (&posward__hsm__v1__process_batch_request__descriptor)
#define TRANSACTION (&posward__hsm__v1__process_transaction_request__descriptor)
#define TRANSLATE   (&posward__hsm__v1__translate_pin_request__descriptor)
#define COUNT(rows) ((int)(sizeof(rows) / sizeof(rows)[0]))

struct packed {
    uint8_t bytes[1024];
    size_t len;
};
#define PACKED(text) packed_of(text, sizeof(text) - 1)

static struct packed packed_of(const char *bytes, size_t len)
{
    struct packed p = {.len = len};
    ck_assert_uint_le(len, sizeof p.bytes);
    memcpy(p.bytes, bytes, len);
    return p;
}

static void append(struct packed *p, const char *bytes, size_t len)
{
    ck_assert_uint_le(p->len + len, sizeof p->bytes);
    memcpy(p->bytes + p->len, bytes, len);
    p->len += len;
}

/* `inner` as the field with that tag of one or two bytes. */
static struct packed wrap(unsigned number, const struct packed *inner)
{
    struct packed p = {0};
    const unsigned tag = number << 3 | 2;
    if (tag > 0x7F)
        p.bytes[p.len++] = (uint8_t)(tag | 0x80);
    p.bytes[p.len++] = (uint8_t)(tag > 0x7F ? tag >> 7 : tag);
    if (inner->len > 0x7F)
        p.bytes[p.len++] = (uint8_t)(inner->len | 0x80);
    p.bytes[p.len++] = (uint8_t)(inner->len > 0x7F ? inner->len >> 7 : inner->len);
    append(&p, (const char *)inner->bytes, inner->len);
    return p;
}

static const struct row {
    const char *bytes;
    size_t len;
    const char *note; /* NULL: it is in form */
} rows[] = {
#define ROW(bytes, note)                                                                                     \
    {                                                                                                        \
        (bytes), sizeof(bytes) - 1, (note)                                                                   \
    }
    ROW("", NULL),
    /* a field that stands twice */
    ROW("\x08\x01\x08\x01", "i32 stands twice; give it once"),
    ROW("\x08\x00\x08\x00", "i32 stands twice; give it once"),
    ROW("\x08\x01\x20\x01\x08\x02", "i32 stands twice; give it once"),
    ROW("\x68\x01\x68\x00", "yes stands twice; give it once"),
    ROW("\x70\x01\x70\x02", "colour stands twice; give it once"),
    ROW("\x25\1\2\3\4", "u32 of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\x7A\x01x\x7A\x00", "text stands twice; give it once"),
    ROW("\x82\x01\x00\x82\x01\x01x", "raw_bytes stands twice; give it once"),
    ROW("\x8A\x01\x00\x8A\x01\x00", "inner stands twice; give it once"),
    ROW("\x8A\x01\x03\x0A\x01n\x8A\x01\x02\x18\x01", "inner stands twice; give it once"),
    /* oneof: choice_text 23, choice_inner 24, choice_number 25 */
    ROW("\xBA\x01\x01x", NULL),
    ROW("\xC8\x01\x00", NULL),
    ROW("\xBA\x01\x01x\xBA\x01\x01x",
        "choice_text is one member too many of its oneof; give one of them, once"),
    ROW("\xBA\x01\x01x\xC8\x01\x05",
        "choice_number is one member too many of its oneof; give one of them, once"),
    ROW("\xC8\x01\x05\xC2\x01\x00",
        "choice_inner is one member too many of its oneof; give one of them, once"),
    ROW("\xC2\x01\x00\xBA\x01\x00",
        "choice_text is one member too many of its oneof; give one of them, once"),
    /* repeated fields, packed or not, even mixed */
    ROW("\x92\x01\x02\x01\x02\x90\x01\x03\x92\x01\x00", NULL),
    ROW("\x9A\x01\x01x\x9A\x01\x01y", NULL),
    ROW("\xAA\x01\x00\xAA\x01\x00", NULL),
    ROW("\xDA\x01\x02\x01\x00\xD8\x01\x01", NULL),
    ROW("\x92\x01\x02\x01\x80", "numbers is cut short"),
    ROW("\x92\x01\x03\x01\x80\x00", "numbers has a varint that is longer than it needs to be"),
    ROW("\x92\x01\x05\xFF\xFF\xFF\xFF\x0F", "numbers holds a number that does not fit its type"),
    ROW("\xDA\x01\x02\x01\x02", "flags holds a number that does not fit its type"),
    ROW("\xB2\x01\x05\x80\x80\x80\x80\x08", "colours holds a number that does not fit its type"),
    ROW("\x95\x01\1\2\3\4", "numbers of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\x98\x01\x01", "texts of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\xA8\x01\x01", "inners of a posward.kinds.v1.All has another wire type than its own"),
    /* wire types */
    ROW("\x0D\1\2\3\4", "i32 of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\x0A\x01\x01", "i32 of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\x18\x01", "sf32 of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\x41\1\2\3\4\5\6\7\x08", NULL),
    ROW("\x45\1\2\3\4", "sf64 of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\x58\x01", "real of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\x6A\x01\x01",
        "yes of a posward.kinds.v1.All has another wire type than its own"), /* protobuf-c's hole */
    ROW("\x78\x01", "text of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\x80\x01\x01", "raw_bytes of a posward.kinds.v1.All has another wire type than its own"),
    ROW("\x89\x01\1\2\3\4\5\6\7\x08", "inner of a posward.kinds.v1.All has another wire type than its own"),
    /* numbers beyond their type */
    ROW("\x08\xFF\xFF\xFF\xFF\x07", NULL),
    ROW("\x08\x80\x80\x80\x80\xF8\xFF\xFF\xFF\xFF\x01", NULL), /* -2^31 */
    ROW("\x08\xFF\xFF\xFF\xFF\xF7\xFF\xFF\xFF\xFF\x01", "i32 holds a number that does not fit its type"),
    ROW("\x08\x80\x80\x80\x80\x08", "i32 holds a number that does not fit its type"),
    ROW("\x08\xFF\xFF\xFF\xFF\x0F",
        "i32 holds a number that does not fit its type"), /* -1 without its sign */
    ROW("\x10\xFF\xFF\xFF\xFF\x0F", NULL),
    ROW("\x10\x80\x80\x80\x80\x10", "s32 holds a number that does not fit its type"),
    ROW("\x20\xFF\xFF\xFF\xFF\x0F", NULL),
    ROW("\x20\x80\x80\x80\x80\x10", "u32 holds a number that does not fit its type"),
    ROW("\x30\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", NULL),
    ROW("\x38\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", NULL),
    ROW("\x48\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", NULL),
    ROW("\x68\x02", "yes holds a number that does not fit its type"),
    ROW("\x70\xE7\x07", NULL), /* an enum value that is not known */
    ROW("\x70\x80\x80\x80\x80\x08", "colour holds a number that does not fit its type"),
    /* varints and tags */
    ROW("\x08\x81\x00", "i32 of a posward.kinds.v1.All has a varint that is longer than it needs to be"),
    ROW("\x88\x00\x01", "field ? of a posward.kinds.v1.All has a varint that is longer than it needs to be"),
    ROW("\x7A\x81\x00x", "text of a posward.kinds.v1.All has a varint that is longer than it needs to be"),
    ROW("\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02",
        "i32 of a posward.kinds.v1.All has a varint that is longer than it needs to be"),
    ROW("\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
        "i32 of a posward.kinds.v1.All has a varint that is longer than it needs to be"),
    ROW("\x00\x01", "field 0 of a posward.kinds.v1.All has a field number outside 1 to 2^29-1"),
    ROW("\x80\x80\x80\x80\x10\x01",
        "field 536870912 of a posward.kinds.v1.All has a field number outside 1 to 2^29-1"),
    ROW("\x88\x80\x80\x80\x80\x01\x01",
        "field 4294967297 of a posward.kinds.v1.All has a field number outside 1 to 2^29-1"),
    ROW("\x0B\x0C", "i32 of a posward.kinds.v1.All is a group, which proto3 does not have"),
    ROW("\x0C", "i32 of a posward.kinds.v1.All is a group, which proto3 does not have"),
    ROW("\x0E\x01", "i32 of a posward.kinds.v1.All is a group, which proto3 does not have"),
    ROW("\x0F\x01", "i32 of a posward.kinds.v1.All is a group, which proto3 does not have"),
    ROW("\x93\x06\x94\x06", "field 98 of a posward.kinds.v1.All is a group, which proto3 does not have"),
    /* ends */
    ROW("\x08", "i32 of a posward.kinds.v1.All is cut short"),
    ROW("\xBA", "field ? of a posward.kinds.v1.All is cut short"),
    ROW("\x1D\1\2\3", "sf32 of a posward.kinds.v1.All is cut short"),
    ROW("\x41\1\2\3\4", "sf64 of a posward.kinds.v1.All is cut short"),
    ROW("\x7A\x02x", "text of a posward.kinds.v1.All is cut short"),
    ROW("\x7A", "text of a posward.kinds.v1.All is cut short"),
    ROW("\x82\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01x",
        "raw_bytes of a posward.kinds.v1.All is cut short"),
    /* fields that are not known pass in form, as often as they stand */
    ROW("\x90\x06\x01\x90\x06\x02\x92\x06\x02\xFF\xFF\x91\x06\1\2\3\4\5\6\7\x08\x95\x06\1\2\3\4", NULL),
    ROW("\xF8\xFF\xFF\xFF\x0F\x01", NULL),
    ROW("\x90\x06\x80\x00",
        "field 98 of a posward.kinds.v1.All has a varint that is longer than it needs to be"),
    ROW("\x92\x06\x02x", "field 98 of a posward.kinds.v1.All is cut short"),
    /* strings */
    ROW("\x7A\x03x\0y", "text holds a NUL byte"),
    ROW("\x7A\x01\xFF", "text is not UTF-8"),
    ROW("\x9A\x01\x01x\x9A\x01\x02\xC0\x80", "texts is not UTF-8"),
    ROW("\xBA\x01\x01\x80", "choice_text is not UTF-8"),
    ROW("\x8A\x01\x03\x0A\x01\0", "inner.name holds a NUL byte"),
    ROW("\xAA\x01\x00\xAA\x01\x06\x0A\x01x\x0A\x01y", "inners.name stands twice; give it once"),
    ROW("\xC2\x01\x02\x18\x80", "choice_inner.colour of a posward.kinds.v1.All is cut short"),
};

static void assert_form(const ProtobufCMessageDescriptor *type, const struct packed *p, const char *note)
{
    struct err e = {0};
    const enum err_code code = form_check(type, p->bytes, p->len, &e);
    if (note == NULL) {
        ck_assert_ok(code, e);
        return;
    }
    ck_assert_int_eq(code, ERR_INPUT);
    ck_assert_str_eq(e.note, note);
}

/* All.self is an All: a row's fault is found as the message itself, in it, and in an item of a list. */
START_TEST(fault_is_found_at_every_depth)
{
    const struct row *const row = &rows[_i];
    struct packed p = packed_of(row->bytes, row->len);
    char note[200] = "", before[200] = "";
    for (int depth = 0; depth < 4; depth++) {
        if (row->note != NULL)
            snprintf(note, sizeof note, "%s%s", before, row->note);
        assert_form(ALL, &p, row->note != NULL ? note : NULL);
        p = wrap(26, &p);
        strcat(before, "self.");
    }
}
END_TEST

/* What passes must unpack: no row relies on protobuf-c to refuse. */
START_TEST(what_is_in_form_unpacks)
{
    const struct row *const row = &rows[_i];
    if (row->note != NULL)
        return;
    ProtobufCMessage *const message =
        protobuf_c_message_unpack(ALL, NULL, row->len, (const uint8_t *)row->bytes);
    ck_assert_ptr_nonnull(message);
    protobuf_c_message_free_unpacked(message, NULL);
}
END_TEST

START_TEST(messages_in_messages_have_a_bound)
{
    struct packed p = {0};
    struct err e = {0};
    for (int i = 0; i < FORM_DEPTH_MAX; i++)
        p = wrap(26, &p);
    assert_form(ALL, &p, NULL);
    p = wrap(26, &p);
    ck_assert_int_eq(form_check(ALL, p.bytes, p.len, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "messages stand in messages more than 64 deep, last in self");
}
END_TEST

START_TEST(long_path_keeps_its_end)
{
    struct packed p = PACKED("\x7A\x01\xFF");
    struct err e = {0};
    for (int i = 0; i < FORM_DEPTH_MAX; i++)
        p = wrap(26, &p);
    ck_assert_int_eq(form_check(ALL, p.bytes, p.len, &e), ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(e.note, "self.self.text is not UTF-8"));
}
END_TEST

/* The bytes with which the limits and the audit log were passed by. */
static const struct attack {
    const char *name;
    const ProtobufCMessageDescriptor *type;
    const char *bytes;
    size_t len;
    const char *note; /* as the message itself */
} attacks[] = {
#define ATTACK(name, type, bytes, note)                                                                      \
    {                                                                                                        \
        name, type, bytes, sizeof(bytes) - 1, note                                                           \
    }
    ATTACK("a second pin of formats", TRANSACTION, "\x42\x03\x0A\x01x\x42\x02\x18\x01",
           "pin stands twice; give it once"),
    ATTACK("a second pin, empty", TRANSACTION, "\x42\x02\x18\x01\x42\x00", "pin stands twice; give it once"),
    ATTACK("an empty second source", TRANSLATE, "\x0A\x03\x0A\x01x\x12\x00\x0A\x00",
           "source stands twice; give it once"),
    ATTACK("empty keys behind the keys", TRANSLATE, "\x0A\x00\x12\x00\x0A\x00\x12\x00",
           "source stands twice; give it once"),
    ATTACK("a blob and a zone", TRANSLATE, "\x0A\x05\x0A\x01x\x12\x00",
           "source.zone is one member too many of its oneof; give one of them, once"),
};

START_TEST(attack_is_refused_alone_and_in_a_batch)
{
    const struct attack *const a = &attacks[_i];
    struct packed p = packed_of(a->bytes, a->len);
    assert_form(a->type, &p, a->note);
    const char *const name = a->type == TRANSLATE ? "translate_pin" : "process_transaction";
    const ProtobufCFieldDescriptor *const member =
        protobuf_c_message_descriptor_get_field_by_name(&posward__hsm__v1__batch_item__descriptor, name);
    struct packed item = wrap(member->id, &p);
    char note[200];
    snprintf(note, sizeof note, "items.%s.%s", name, a->note);
    struct packed batch = wrap(1, &item);
    assert_form(BATCH, &batch, note);
}
END_TEST

/* Behind an operation no other is allowed, nor the same again. */
static void assert_one_operation(unsigned first, const ProtobufCFieldDescriptor *second)
{
    const struct packed nothing = {0}, other = wrap(second->id, &nothing);
    struct packed item = wrap(first, &nothing);
    char note[200];
    append(&item, (const char *)other.bytes, other.len);
    const struct packed batch = wrap(1, &item);
    snprintf(note, sizeof note, "items.%s is one member too many of its oneof; give one of them, once",
             second->name);
    const bool member = (second->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    assert_form(BATCH, &batch, member ? note : NULL);
}

START_TEST(batch_item_has_one_operation)
{
    const ProtobufCMessageDescriptor *const type = &posward__hsm__v1__batch_item__descriptor;
    for (unsigned first = 1; first <= 7; first++)
        for (unsigned i = 0; i < type->n_fields; i++)
            assert_one_operation(first, &type->fields[i]);
}
END_TEST

static struct packed sample_batch(void)
{
    Posward__Hsm__V1__KeyRef key = POSWARD__HSM__V1__KEY_REF__INIT;
    Posward__Hsm__V1__ZoneKey zone = POSWARD__HSM__V1__ZONE_KEY__INIT;
    Posward__Hsm__V1__KeyRef to = POSWARD__HSM__V1__KEY_REF__INIT;
    Posward__Hsm__V1__TranslatePinRequest pin = POSWARD__HSM__V1__TRANSLATE_PIN_REQUEST__INIT;
    Posward__Hsm__V1__BatchItem item = POSWARD__HSM__V1__BATCH_ITEM__INIT, *items[] = {&item, &item};
    Posward__Hsm__V1__ProcessBatchRequest batch = POSWARD__HSM__V1__PROCESS_BATCH_REQUEST__INIT;
    uint8_t blob[90] = "PWB1", block[8] = {0};
    key.key_case = POSWARD__HSM__V1__KEY_REF__KEY_BLOB;
    key.blob = (ProtobufCBinaryData){sizeof blob, blob};
    zone.zone = (char *)"bank";
    to.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    to.zone = &zone;
    pin.source = &key;
    pin.destination = &to;
    pin.pan = (char *)"6225880000000009";
    pin.block = (ProtobufCBinaryData){sizeof block, block};
    item.operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_TRANSLATE_PIN;
    item.translate_pin = &pin;
    batch.n_items = 2;
    batch.items = items;
    struct packed p = {0};
    p.len = posward__hsm__v1__process_batch_request__pack(&batch, p.bytes);
    return p;
}

START_TEST(request_cut_at_every_byte_is_refused_or_whole)
{
    const struct packed p = sample_batch();
    size_t whole = 0;
    for (size_t len = 0; len <= p.len; len++) {
        struct err e = {0};
        uint8_t *const tight = malloc(len + 1); /* a read beyond the end is seen by the sanitizer */
        memcpy(tight, p.bytes, len);
        const enum err_code code = form_check(BATCH, tight, len, &e);
        free(tight);
        whole += code == ERR_OK;
        if (code != ERR_OK) {
            ck_assert_int_eq(code, ERR_INPUT);
            ck_assert_ptr_nonnull(strstr(e.note, "is cut short"));
        }
    }
    ck_assert_uint_eq(whole, 3); /* nothing, one item, both */
}
END_TEST

/* One bit per place finds a oneof that stands twice: its members share a place, and no other fields do. */
static void assert_places(const ProtobufCMessageDescriptor *type)
{
    ck_assert_uint_le(type->sizeof_message, FORM_STRUCT_BYTES_MAX);
    for (unsigned a = 0; a < type->n_fields; a++) {
        const ProtobufCFieldDescriptor *const x = &type->fields[a];
        ck_assert_uint_eq(x->offset % 4, 0);
        for (unsigned b = a + 1; b < type->n_fields; b++) {
            const ProtobufCFieldDescriptor *const y = &type->fields[b];
            const bool one = (x->flags & y->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
                             x->quantifier_offset == y->quantifier_offset;
            ck_assert_msg((x->offset / 4 == y->offset / 4) == one, "%s: %s, %s", type->name, x->name,
                          y->name);
        }
        if (x->type == PROTOBUF_C_TYPE_MESSAGE && x->descriptor != type)
            assert_places(x->descriptor);
    }
}

static const ProtobufCServiceDescriptor *const services[] = {
    &posward__hsm__v1__data_plane__descriptor,     &posward__hsm__v1__control__descriptor,
    &posward__hsm__v1__key_management__descriptor, &posward__business__v1__business__descriptor,
    &posward__posp__v1__card_keys__descriptor,     &posward__posp__v1__operations__descriptor,
    &posward__posv__v1__registry__descriptor,
};

START_TEST(members_of_a_oneof_and_they_alone_share_a_place)
{
    assert_places(ALL);
    for (int i = 0; i < COUNT(services); i++)
        for (unsigned m = 0; m < services[i]->n_methods; m++) {
            assert_places(services[i]->methods[m].input);
            assert_places(services[i]->methods[m].output);
        }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("form");
    TCase *tc = tcase_create("form");
    tcase_add_loop_test(tc, fault_is_found_at_every_depth, 0, COUNT(rows));
    tcase_add_loop_test(tc, what_is_in_form_unpacks, 0, COUNT(rows));
    tcase_add_test(tc, messages_in_messages_have_a_bound);
    tcase_add_test(tc, long_path_keeps_its_end);
    tcase_add_loop_test(tc, attack_is_refused_alone_and_in_a_batch, 0, COUNT(attacks));
    tcase_add_test(tc, batch_item_has_one_operation);
    tcase_add_test(tc, request_cut_at_every_byte_is_refused_or_whole);
    tcase_add_test(tc, members_of_a_oneof_and_they_alone_share_a_place);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
