/* Published messages through unpack, pack, frame and the MAC input; working-key layouts of sign-in. */
#include "base/hex.h"
#include "card-emu/crypto/mac.h"
#include "iso8583/f62.h"
#include "iso8583/frame.h"
#include "iso8583/pack.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static struct vectors messages, signins;

struct parsed {
    uint8_t raw[ISO_FRAME_BYTES_MAX];
    size_t raw_len, length;
    bool has_length, has_envelope;
    struct iso_envelope envelope;
    const uint8_t *body;
    size_t body_len;
    struct iso_message message;
};

static void check_hex(const char *id, const char *what, const char *expected, const uint8_t *bytes,
                      size_t len)
{
    char text[2 * ISO_FRAME_BYTES_MAX + 1];
    hex_encode(bytes, len, text);
    ck_assert_msg(expected == NULL || strcasecmp(expected, text) == 0,
                  "%s: %s is " VECTORS_CUT ", expected " VECTORS_CUT, id, what, text, expected);
}

static bool input_flag(int index, const char *name)
{
    return json_is_true(json_object_get(vectors_section(&messages, index, "inputs"), name));
}

static void parse(int index, struct parsed *p)
{
    const char *id = vectors_id(&messages, index);
    struct err e = {0};
    p->raw_len = vectors_hex(&messages, index, "inputs", "raw", p->raw, sizeof p->raw);
    p->has_length = input_flag(index, "has_length");
    p->has_envelope = input_flag(index, "has_tpdu_header");
    p->body = p->raw;
    p->body_len = p->raw_len;
    if (p->has_length && p->has_envelope) {
        struct iso_frame frame;
        ck_assert_ok(iso_frame_parse(p->raw, p->raw_len, sizeof p->raw, &frame, &e), e);
        ck_assert_uint_eq(frame.total, p->raw_len);
    }
    if (p->has_length) {
        p->length = (size_t)p->raw[0] << 8 | p->raw[1];
        p->body += ISO_LENGTH_BYTES;
        p->body_len -= ISO_LENGTH_BYTES;
    }
    if (p->has_envelope) {
        ck_assert_ok(iso_envelope_parse(p->body, p->body_len, &p->envelope, &e), e);
        p->body += ISO_ENVELOPE_BYTES;
        p->body_len -= ISO_ENVELOPE_BYTES;
    }
    enum err_code code = ERR_INPUT;
    for (const struct iso_dialect *const *d = iso_dialects; *d != NULL && code != ERR_OK; d++)
        code = iso_unpack(&p->message, *d, p->body, p->body_len, &e);
    ck_assert_msg(code == ERR_OK, "%s: %s", id, e.note);
}

/* Vectors print ISO_BYTES fields in hex, except where the author saw text (field 44). */
static bool same_value(const struct iso_field *row, const char *text, const char *hex, const char *expected)
{
    if (text != NULL && row->format != ISO_TRACK && strcmp(text, expected) == 0)
        return true;
    if (row->format == ISO_BYTES)
        return strcasecmp(hex, expected) == 0;
    if (row->format != ISO_TRACK || text == NULL || strlen(text) != strlen(expected))
        return false;
    for (size_t i = 0; text[i] != '\0'; i++) { /* '=' and a small d are separators too */
        const char digit = (char)(expected[i] == '=' ? 'D' : toupper((unsigned char)expected[i]));
        if (digit != text[i])
            return false;
    }
    return true;
}

static void check_field(const char *id, const struct iso_message *m, unsigned number, const char *expected)
{
    size_t len = 0;
    const uint8_t *bytes = iso_view_bytes(m, number, &len);
    ck_assert_msg(bytes != NULL, "%s: field %u is missing", id, number);
    const struct iso_field *row = iso_dialect_field(m->dialect, number);
    const char *text = iso_text(m, number);
    ck_assert_msg(expected != NULL, "%s: field %u is expected as no string", id, number);
    char hex[2 * ISO_MESSAGE_BYTES_MAX + 1];
    hex_encode(bytes, len, hex);
    ck_assert_msg(same_value(row, text, hex, expected),
                  "%s: field %u is " VECTORS_CUT ", expected " VECTORS_CUT, id, number,
                  text != NULL ? text : hex, expected);
}

static void check_fields(int index, const struct iso_message *m)
{
    const json_t *fields = json_object_get(vectors_section(&messages, index, "expected"), "fields");
    const char *name;
    json_t *value;
    unsigned seen = 0, held = 0;
    json_object_foreach((json_t *)(uintptr_t)fields, name, value)
    {
        check_field(vectors_id(&messages, index), m, (unsigned)strtoul(name, NULL, 10),
                    json_string_value(value));
        seen++;
    }
    for (unsigned i = ISO_FIELD_FIRST; i <= ISO_FIELD_LAST; i++)
        held += iso_has(m, i) ? 1 : 0;
    ck_assert_msg(fields == NULL || seen == held, "%s: %u fields, expected %u", vectors_id(&messages, index),
                  held, seen);
}

static void check_repacked(int index, const struct parsed *p)
{
    uint8_t body[ISO_MESSAGE_BYTES_MAX], out[ISO_FRAME_BYTES_MAX];
    size_t body_len = 0, len = 0;
    struct err e = {0};
    ck_assert_ok(iso_pack(&p->message, body, sizeof body, &body_len, &e), e);
    ck_assert_ok(iso_frame_build(&p->envelope, body, body_len, out, sizeof out, &len, &e), e);
    const uint8_t *at = out;
    if (!p->has_envelope) { /* the message alone, behind its length when there is one */
        memcpy(out + ISO_LENGTH_BYTES, body, body_len);
        len = body_len + ISO_LENGTH_BYTES;
        out[0] = (uint8_t)(body_len >> 8);
        out[1] = (uint8_t)body_len;
    }
    if (!p->has_length) {
        at += ISO_LENGTH_BYTES;
        len -= ISO_LENGTH_BYTES;
    }
    check_hex(vectors_id(&messages, index), "repacked",
              vectors_text(&messages, index, "expected", "repacked"), at, len);
    check_hex(vectors_id(&messages, index), "repacked", vectors_text(&messages, index, "inputs", "raw"), at,
              len);
}

static void check_mac(int index, const struct parsed *p)
{
    if (!vectors_expects(&messages, index, "mac_ascii"))
        return;
    uint8_t mak[24], input[ISO_MESSAGE_BYTES_MAX], mac[EMU_DES_BLOCK];
    size_t len = 0;
    struct err e = {0};
    const size_t mak_len = vectors_hex(&messages, index, "inputs", "mak", mak, sizeof mak);
    AUTO(emu_key) key = {0};
    ck_assert_ok(emu_key_init_des(&key, mak, mak_len, &e), e);
    ck_assert_ok(iso_mac_input(&p->message, input, sizeof input, &len, &e), e);
    if (iso_has(&p->message, ISO_FIELD_LAST)) {
        ck_assert_uint_eq(len, iso_mac_input_len(&p->message, p->body_len));
        ck_assert_mem_eq(input, p->body, len);
    }
    ck_assert_ok(emu_mac_unionpay(&key, input, len, mac, &e), e);
    char text[9];
    hex_encode(mac, 4, text);
    vectors_expect_text(&messages, index, "mac_ascii", text);
}

START_TEST(message_parses_and_repacks)
{
    static const char *const known[] = {"length", "tpdu",     "header",    "mti", "bitmap",
                                        "fields", "repacked", "mac_ascii", NULL};
    static struct parsed p;
    memset(&p, 0, sizeof p);
    const char *id = vectors_id(&messages, _i);
    vectors_expect_only(&messages, _i, known);
    parse(_i, &p);
    ck_assert_int_eq((long)p.length, vectors_int(&messages, _i, "expected", "length", (long)p.length));
    check_hex(id, "tpdu", vectors_text(&messages, _i, "expected", "tpdu"), p.envelope.tpdu, ISO_TPDU_BYTES);
    check_hex(id, "header", vectors_text(&messages, _i, "expected", "header"), p.envelope.header,
              ISO_HEADER_BYTES);
    check_hex(id, "mti", vectors_text(&messages, _i, "expected", "mti"), p.body, 2);
    check_hex(id, "bitmap", vectors_text(&messages, _i, "expected", "bitmap"), p.body + 2, 8);
    check_fields(_i, &p.message);
    check_repacked(_i, &p);
    check_mac(_i, &p);
}
END_TEST

START_TEST(message_cut_at_every_byte_is_refused)
{
    static struct parsed p;
    static struct iso_message cut;
    memset(&p, 0, sizeof p);
    parse(_i, &p);
    struct err e = {0};
    for (size_t len = 0; len < p.body_len; len++) {
        uint8_t *exact = malloc(len + 1); /* so that a sanitizer sees a read past the end */
        memcpy(exact + 1, p.body, len);
        ck_assert_int_eq(iso_unpack(&cut, p.message.dialect, exact + 1, len, &e), ERR_INPUT);
        ck_assert_str_ne(e.note, "");
        free(exact);
    }
}
END_TEST

static void check_key(int index, const struct emu_key *tmk, const struct iso_f62_key *slot, const char *name)
{
    char cv_name[8];
    snprintf(cv_name, sizeof cv_name, "%s_cv", name);
    uint8_t clear[ISO_F62_CIPHER_MAX], kcv[ISO_F62_CV_BYTES];
    struct err e = {0};
    if (slot->cipher_len == 0) {
        ck_assert(!vectors_expects(&signins, index, name) && !vectors_expects(&signins, index, cv_name));
        return;
    }
    AUTO(emu_key) key = {0};
    ck_assert_ok(emu_decrypt_ecb(tmk, slot->cipher, slot->cipher_len, clear, &e), e);
    vectors_expect_hex(&signins, index, name, clear, slot->cipher_len);
    ck_assert_ok(emu_key_init_des(&key, clear, slot->cipher_len, &e), e);
    ck_assert_ok(emu_kcv(&key, kcv, sizeof kcv, &e), e);
    vectors_expect_left(&signins, index, cv_name, kcv, sizeof kcv);
    vectors_expect_left(&signins, index, cv_name, slot->cv, sizeof slot->cv);
}

START_TEST(signin_f62_parses_and_rebuilds)
{
    static const char *const known[] = {"pik", "pik_cv", "mak", "mak_cv", "tdk", "tdk_cv", NULL};
    static const char *const names[] = {"pik", "mak", "tdk"};
    uint8_t tmk_bytes[24], raw[512], again[ISO_F62_BYTES_MAX];
    struct err e = {0};
    struct iso_f62 f62;
    AUTO(emu_key) tmk = {0};
    vectors_expect_only(&signins, _i, known);
    const size_t tmk_len = vectors_hex(&signins, _i, "inputs", "tmk", tmk_bytes, sizeof tmk_bytes);
    const size_t len = vectors_hex(&signins, _i, "inputs", "field62", raw, sizeof raw);
    ck_assert_ok(emu_key_init_des(&tmk, tmk_bytes, tmk_len, &e), e);
    ck_assert_ok(iso_f62_parse(raw, len, ISO_F62_TDES, &f62, &e), e);
    for (int i = 0; i < ISO_F62_SLOT_COUNT; i++)
        check_key(_i, &tmk, &f62.keys[i], names[i]);
    if (len > ISO_F62_BYTES_MAX || len == 56 || len == 57)
        return; /* read, not written */
    ck_assert_ok(iso_f62_build(&f62, len, again, &e), e);
    ck_assert_mem_eq(again, raw, len);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("iso8583 vectors");
    TCase *tc = tcase_create("vectors");
    if (vectors_open(&messages, "iso8583")) {
        tcase_add_loop_test(tc, message_parses_and_repacks, 0, (int)messages.count);
        tcase_add_loop_test(tc, message_cut_at_every_byte_is_refused, 0, (int)messages.count);
    }
    if (vectors_open(&signins, "signin_f62"))
        tcase_add_loop_test(tc, signin_f62_parses_and_rebuilds, 0, (int)signins.count);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN_EXIT(suite(), vectors_exit)
