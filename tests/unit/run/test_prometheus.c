#include "run/prometheus.h"
#include "tests/support/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct page {
    struct prometheus writer;
    char *text;
    size_t len;
};

static void page_begin(struct page *page)
{
    *page = (struct page){0};
    page->writer.out = open_memstream(&page->text, &page->len);
    ck_assert_ptr_nonnull(page->writer.out);
}

static void page_expect(struct page *page, const char *text)
{
    ck_assert_int_eq(fclose(page->writer.out), 0);
    ck_assert_str_eq(page->text, text);
    free(page->text);
}

START_TEST(prometheus_escapes_help_and_values)
{
    struct page page;
    page_begin(&page);
    prometheus_family(&page.writer, "a_total", PROMETHEUS_COUNTER, "One \"line\"\nand a \\.");
    prometheus_count(&page.writer, (const struct prometheus_label[]){{"x", "a\"b\\c\nd"}, {"y", NULL}, {0}},
                     UINT64_MAX);
    page_expect(&page, "# HELP a_total One \"line\"\\nand a \\\\.\n# TYPE a_total counter\n"
                       "a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 18446744073709551615\n");
}
END_TEST

START_TEST(prometheus_writes_numbers_as_go_reads_them)
{
    struct page page;
    page_begin(&page);
    prometheus_family(&page.writer, "g", PROMETHEUS_GAUGE, "Numbers.");
    const double values[] = {0.5, -2, 1795390773.025, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        prometheus_number(&page.writer, NULL, values[i]);
    page_expect(&page, "# HELP g Numbers.\n# TYPE g gauge\n"
                       "g 0.5\ng -2\ng 1795390773.025\ng +Inf\ng -Inf\ng NaN\n");
}
END_TEST

START_TEST(prometheus_writes_a_histogram)
{
    struct page page;
    page_begin(&page);
    prometheus_family(&page.writer, "h_seconds", PROMETHEUS_HISTOGRAM, "Times.");
    prometheus_histogram(&page.writer, (const struct prometheus_label[]){{"m", "x"}, {0}},
                         &(struct prometheus_histogram){.bounds = (const double[]){0.0005, 10},
                                                        .bound_count = 2,
                                                        .within = (const uint64_t[]){1, 3, 4},
                                                        .sum = 12.25});
    page_expect(&page, "# HELP h_seconds Times.\n# TYPE h_seconds histogram\n"
                       "h_seconds_bucket{m=\"x\",le=\"0.0005\"} 1\nh_seconds_bucket{m=\"x\",le=\"10\"} 3\n"
                       "h_seconds_bucket{m=\"x\",le=\"+Inf\"} 4\nh_seconds_sum{m=\"x\"} 12.25\n"
                       "h_seconds_count{m=\"x\"} 4\n");
}
END_TEST

START_TEST(prometheus_leaves_out_what_would_spoil_the_page)
{
    struct page page;
    page_begin(&page);
    prometheus_count(&page.writer, NULL, 1); /* of no family */
    const struct prometheus_row rows[] = {
        {"a", PROMETHEUS_GAUGE, "Once.", 1},     {"b-c", PROMETHEUS_GAUGE, "No name.", 2},
        {"2d", PROMETHEUS_GAUGE, "No name.", 3}, {"", PROMETHEUS_GAUGE, "No name.", 4},
        {"a", PROMETHEUS_COUNTER, "Twice.", 5},  {"e", PROMETHEUS_GAUGE, "Last.", 6}};
    prometheus_rows(&page.writer, rows, sizeof rows / sizeof rows[0]);
    page_expect(&page, "# HELP a Once.\n# TYPE a gauge\na 1\n# HELP e Last.\n# TYPE e gauge\ne 6\n");
}
END_TEST

START_TEST(prometheus_has_a_limit_of_families)
{
    static char names[PROMETHEUS_FAMILIES_MOST + 1][8];
    struct prometheus page = {.out = fopen("/dev/null", "w")};
    ck_assert_ptr_nonnull(page.out);
    for (size_t i = 0; i <= PROMETHEUS_FAMILIES_MOST; i++) {
        snprintf(names[i], sizeof names[i], "f%zu", i);
        prometheus_family(&page, names[i], PROMETHEUS_GAUGE, "One of many.");
        ck_assert_int_eq(page.family != NULL, i < PROMETHEUS_FAMILIES_MOST);
    }
    fclose(page.out);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("prometheus");
    TCase *tc = tcase_create("prometheus");
    tcase_add_test(tc, prometheus_escapes_help_and_values);
    tcase_add_test(tc, prometheus_writes_numbers_as_go_reads_them);
    tcase_add_test(tc, prometheus_writes_a_histogram);
    tcase_add_test(tc, prometheus_leaves_out_what_would_spoil_the_page);
    tcase_add_test(tc, prometheus_has_a_limit_of_families);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
