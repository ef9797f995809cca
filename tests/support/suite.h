/* Runs a Check suite and keeps /tmp clean behind it. */
#ifndef POSWARD_TESTS_SUPPORT_SUITE_H
#define POSWARD_TESTS_SUPPORT_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Assert ERR_OK and show the note otherwise. `err` is a struct err. */
#define ck_assert_ok(call, err) ck_assert_msg((call) == ERR_OK, "%s: %s", #call, (err).note)

/* Make the suite's scratch folder, which is TMPDIR from then on, for the forked tests and their programs too.
 * suite_run does so; call it before only when fixtures are made before the suite runs. */
void suite_scratch_open(void);
/* Run `suite` and remove the scratch folder with all that failed, killed or untidy tests left in it. Returns
 * main's status. */
int suite_run(Suite *suite);
/* "<TMPDIR>/<stem>-XXXXXX" for mkdtemp or mkstemp; needs about 50 bytes. In /tmp in a program that is no
 * suite. */
void suite_scratch_name(const char *stem, char *out_name, size_t capacity);

/* main of a Check suite: SUITE_MAIN(suite()) runs it and exits non-zero when a test failed. */
#define SUITE_MAIN(make_suite) SUITE_MAIN_EXIT(make_suite, )
/* The same, with the exit status passed through a function. */
#define SUITE_MAIN_EXIT(make_suite, exit_of)                                                                 \
    int main(void)                                                                                           \
    {                                                                                                        \
        suite_scratch_open();                                                                                \
        return exit_of(suite_run(make_suite));                                                               \
    }

#endif
