#include "hsm-service/ipc.h"

#include "tests/support/suite.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint8_t body[] = {1, 2, 3, 4, 5};

static struct ipc_frame sample(void)
{
    return (struct ipc_frame){.kind = IPC_REQUEST,
                              .method = IPC_METHOD(IPC_DATA_PLANE, 4),
                              .request_id = 0x1122334455667788,
                              .deadline_ms = INT64_MAX,
                              .operations = 7,
                              .native = -3,
                              .identity = "spiffe://posward/posp",
                              .identity_len = 21,
                              .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                              .traceparent_len = 55,
                              .body = body,
                              .body_len = sizeof body};
}

static size_t encode(const struct ipc_frame *frame, uint8_t *packet, size_t capacity)
{
    struct err e = {0};
    size_t len = 0;
    ck_assert_ok(ipc_encode(frame, packet, capacity, &len, &e), e);
    return len;
}

START_TEST(frame_round_trips)
{
    uint8_t packet[256];
    const struct ipc_frame in = sample();
    const size_t len = encode(&in, packet, sizeof packet);
    struct ipc_frame out;
    struct err e = {0};
    ck_assert_ok(ipc_decode(packet, len, &out, &e), e);
    ck_assert_int_eq(out.kind, in.kind);
    ck_assert_uint_eq(out.method, in.method);
    ck_assert_uint_eq(out.request_id, in.request_id);
    ck_assert_int_eq(out.deadline_ms, in.deadline_ms);
    ck_assert_uint_eq(out.operations, in.operations);
    ck_assert_int_eq(out.native, in.native);
    ck_assert_mem_eq(out.identity, in.identity, in.identity_len);
    ck_assert_mem_eq(out.traceparent, in.traceparent, in.traceparent_len);
    ck_assert_uint_eq(out.body_len, in.body_len);
    ck_assert_mem_eq(out.body, in.body, in.body_len);
    ck_assert_ptr_null(out.refused);
}
END_TEST

START_TEST(refused_items_travel_along)
{
    static const uint8_t refused[IPC_REFUSED_BYTES] = {5, [31] = 0x80};
    uint8_t packet[256];
    struct ipc_frame in = sample(), out;
    struct err e = {0};
    in.refused = refused;
    in.refused_len = sizeof refused;
    const size_t len = encode(&in, packet, sizeof packet);
    ck_assert_ok(ipc_decode(packet, len, &out, &e), e);
    ck_assert_mem_eq(out.refused, refused, sizeof refused);
    ck_assert_mem_eq(out.body, in.body, in.body_len);
    ck_assert_mem_eq(out.traceparent, in.traceparent, in.traceparent_len);
    packet[9] = IPC_REFUSED_BYTES - 1;
    ck_assert_int_eq(ipc_decode(packet, len - 1, &out, &e), ERR_INPUT);
    in.refused_len = 3;
    size_t ignored = 0;
    ck_assert_int_eq(ipc_encode(&in, packet, sizeof packet, &ignored, &e), ERR_INTERNAL);
}
END_TEST

START_TEST(pin_uses_travel_along)
{
    static const struct ipc_pin_use uses[] = {
        {.item = 0, .account = "575832673641"},
        {.item = 255, .decoded = true, .account = "000000000001"},
        {.item = 7, .decoded = true, .failed = true, .account = "999999999999"}};
    uint8_t packet[256], packed[3 * IPC_PIN_USE_BYTES];
    struct ipc_frame in = sample(), out;
    struct err e = {0};
    for (size_t i = 0; i < 3; i++)
        ipc_pin_use_pack(&uses[i], packed + i * IPC_PIN_USE_BYTES);
    in.pin_uses = packed;
    in.pin_use_count = 3;
    const size_t len = encode(&in, packet, sizeof packet);
    ck_assert_ok(ipc_decode(packet, len, &out, &e), e);
    ck_assert_uint_eq(out.pin_use_count, 3);
    ck_assert_mem_eq(out.body, in.body, in.body_len);
    for (size_t i = 0; i < 3; i++) {
        const struct ipc_pin_use use = ipc_pin_use_at(&out, i);
        ck_assert_uint_eq(use.item, uses[i].item);
        ck_assert_int_eq(use.decoded, uses[i].decoded);
        ck_assert_int_eq(use.failed, uses[i].failed);
        ck_assert_mem_eq(use.account, uses[i].account, IPC_ACCOUNT_DIGITS);
    }
    packet[10] = 2; /* 512 and more */
    ck_assert_int_eq(ipc_decode(packet, len, &out, &e), ERR_INPUT);
    in.pin_use_count = IPC_PIN_USES_MAX + 1;
    size_t ignored = 0;
    ck_assert_int_eq(ipc_encode(&in, packet, sizeof packet, &ignored, &e), ERR_INTERNAL);
}
END_TEST

START_TEST(frame_cut_anywhere_is_refused)
{
    uint8_t packet[256];
    const struct ipc_frame in = sample();
    const size_t len = encode(&in, packet, sizeof packet);
    for (size_t cut = 0; cut < len; cut++) {
        struct ipc_frame out = {.request_id = 99};
        struct err e = {0};
        uint8_t *const copy = malloc(cut + 1); /* exact, for the address sanitizer */
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, packet, cut);
        ck_assert_int_eq(ipc_decode(copy, cut, &out, &e), ERR_INPUT);
        ck_assert_uint_eq(out.request_id, 99);
        free(copy);
    }
    struct ipc_frame out;
    struct err e = {0};
    ck_assert_int_eq(ipc_decode(packet, len + 1, &out, &e), ERR_INPUT);
}
END_TEST

static const struct {
    size_t at;
    uint8_t value;
} wrong_bytes[] = {
    {0, 'X'}, {1, 'X'}, {2, 1},  {3, 0},  {3, IPC_KIND_COUNT}, {6, ERR_INPUT}, {6, ERR_CODE_COUNT}, {7, 201},
    {8, 65},  {9, 1},   {10, 1}, {11, 1}, {12, 0xFF},          {15, 4},
};

START_TEST(frame_with_a_wrong_byte_is_refused)
{
    uint8_t packet[256];
    const struct ipc_frame in = sample();
    const size_t len = encode(&in, packet, sizeof packet);
    packet[wrong_bytes[_i].at] = wrong_bytes[_i].value;
    struct ipc_frame out;
    struct err e = {0};
    ck_assert_int_eq(ipc_decode(packet, len, &out, &e), ERR_INPUT);
    ck_assert_str_ne(e.note, "");
}
END_TEST

START_TEST(failure_needs_a_class)
{
    uint8_t packet[256];
    struct ipc_frame frame = sample();
    struct err e = {0};
    frame.kind = IPC_FAILURE;
    ck_assert_int_eq(ipc_decode(packet, encode(&frame, packet, sizeof packet), &frame, &e), ERR_INPUT);
    frame = sample();
    frame.kind = IPC_FAILURE;
    frame.error = ERR_CHECK;
    struct ipc_frame out;
    ck_assert_ok(ipc_decode(packet, encode(&frame, packet, sizeof packet), &out, &e), e);
    ck_assert_int_eq(out.error, ERR_CHECK);
}
END_TEST

START_TEST(encode_refuses_long_parts)
{
    uint8_t packet[64];
    size_t len = 7;
    struct err e = {0};
    struct ipc_frame frame = sample();
    frame.identity_len = IPC_IDENTITY_BYTES + 1;
    ck_assert_int_eq(ipc_encode(&frame, packet, sizeof packet, &len, &e), ERR_LIMIT);
    frame = sample();
    frame.traceparent_len = IPC_TRACEPARENT_BYTES + 1;
    ck_assert_int_eq(ipc_encode(&frame, packet, sizeof packet, &len, &e), ERR_LIMIT);
    frame = sample();
    frame.body_len = IPC_BODY_BYTES + 1;
    ck_assert_int_eq(ipc_encode(&frame, packet, sizeof packet, &len, &e), ERR_LIMIT);
    frame = sample();
    ck_assert_int_eq(ipc_encode(&frame, packet, sizeof packet, &len, &e), ERR_INTERNAL);
    ck_assert_uint_eq(len, 7);
}
END_TEST

START_TEST(pair_carries_the_largest_packet)
{
    static uint8_t large[IPC_BODY_BYTES], packet[IPC_PACKET_BYTES], back[IPC_PACKET_BYTES];
    memset(large, 0xA5, sizeof large);
    struct ipc_frame frame = sample();
    frame.body = large;
    frame.body_len = sizeof large;
    const size_t len = encode(&frame, packet, sizeof packet);
    int fds[2];
    size_t got = 0;
    struct err e = {0};
    ck_assert_ok(ipc_pair(fds, &e), e);
    ck_assert_ok(ipc_send(fds[0], packet, len, 0, &e), e);
    ck_assert_ok(ipc_receive(fds[1], back, 1, &got, &e), e);
    ck_assert_uint_eq(got, len);
    ck_assert_mem_eq(back, packet, len);
    ck_assert_int_eq(ipc_receive(fds[1], back, 0, &got, &e), ERR_LIMIT);
    close(fds[0]);
    ck_assert_ok(ipc_receive(fds[1], back, 1, &got, &e), e);
    ck_assert_uint_eq(got, 0);
    ck_assert_int_eq(ipc_send(fds[1], packet, len, 1, &e), ERR_UNAVAILABLE);
    close(fds[1]);
}
END_TEST

START_TEST(full_socket_is_a_limit_not_a_wait)
{
    static uint8_t packet[IPC_BODY_BYTES];
    int fds[2];
    struct err e = {0};
    ck_assert_ok(ipc_pair(fds, &e), e);
    enum err_code code = ERR_OK;
    for (int i = 0; i < 1000 && code == ERR_OK; i++)
        code = ipc_send(fds[0], packet, sizeof packet, 0, &e);
    ck_assert_int_eq(code, ERR_LIMIT);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm ipc");
    TCase *t = tcase_create("frame");
    tcase_add_test(t, frame_round_trips);
    tcase_add_test(t, refused_items_travel_along);
    tcase_add_test(t, pin_uses_travel_along);
    tcase_add_test(t, frame_cut_anywhere_is_refused);
    tcase_add_loop_test(t, frame_with_a_wrong_byte_is_refused, 0, sizeof wrong_bytes / sizeof wrong_bytes[0]);
    tcase_add_test(t, failure_needs_a_class);
    tcase_add_test(t, encode_refuses_long_parts);
    tcase_add_test(t, pair_carries_the_largest_packet);
    tcase_add_test(t, full_socket_is_a_limit_not_a_wait);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())
