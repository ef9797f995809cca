#include "rpc/measure.h"
#include "tests/support/suite.h"

#include <grpc/status.h>
#include <string.h>

START_TEST(measure_puts_each_call_into_one_bucket)
{
    struct rpc_measure measure = {0};
    const struct {
        int64_t us;
        size_t bucket; /* the first that has it */
    } calls[] = {{-1, 0}, {0, 0}, {500, 0}, {501, 1}, {10000000, 13}, {10000001, 14}, {INT32_MAX, 14}};
    uint64_t expected[RPC_LATENCY_BOUNDS + 1] = {0};
    double seconds = 0;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        rpc_measure_add(&measure, GRPC_STATUS_OK, calls[i].us);
        for (size_t b = calls[i].bucket; b <= RPC_LATENCY_BOUNDS; b++)
            expected[b]++;
        seconds += calls[i].us > 0 ? (double)calls[i].us / 1e6 : 0;
    }
    const struct rpc_method_counts counts = rpc_measure_read(&measure, "a.B/C");
    ck_assert_str_eq(counts.method, "a.B/C");
    ck_assert_mem_eq(counts.within, expected, sizeof expected);
    ck_assert_double_eq_tol(counts.seconds, seconds, 1e-9);
    ck_assert_uint_eq(counts.handled[GRPC_STATUS_OK], sizeof calls / sizeof calls[0]);
}
END_TEST

START_TEST(measure_counts_by_status)
{
    struct rpc_measure measure = {0};
    for (int status = 0; status < RPC_STATUS_COUNT; status++)
        for (int n = 0; n <= status; n++)
            rpc_measure_add(&measure, status, 1);
    rpc_measure_add(&measure, -1, 1);
    rpc_measure_add(&measure, RPC_STATUS_COUNT, 1);
    const struct rpc_method_counts counts = rpc_measure_read(&measure, "a.B/C");
    for (int status = 0; status < RPC_STATUS_COUNT; status++)
        ck_assert_uint_eq(counts.handled[status],
                          (uint64_t)status + 1 + (status == GRPC_STATUS_UNKNOWN ? 2 : 0));
}
END_TEST

START_TEST(measure_bounds_rise)
{
    for (size_t i = 1; i < RPC_LATENCY_BOUNDS; i++)
        ck_assert_double_lt(rpc_latency_bounds[i - 1], rpc_latency_bounds[i]);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("measure");
    TCase *tc = tcase_create("measure");
    tcase_add_test(tc, measure_puts_each_call_into_one_bucket);
    tcase_add_test(tc, measure_counts_by_status);
    tcase_add_test(tc, measure_bounds_rise);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
