/* main of a Check suite: SUITE_MAIN(suite()) runs it and exits non-zero when a test failed. */
#ifndef POSWARD_TESTS_SUPPORT_SUITE_H
#define POSWARD_TESTS_SUPPORT_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Assert ERR_OK and show the note otherwise. `err` is a struct err. */
#define ck_assert_ok(call, err) ck_assert_msg((call) == ERR_OK, "%s: %s", #call, (err).note)

#define SUITE_MAIN(make_suite) SUITE_MAIN_EXIT(make_suite, )
/* The same, with the exit status passed through a function. */
#define SUITE_MAIN_EXIT(make_suite, exit_of)                                                                 \
    int main(void)                                                                                           \
    {                                                                                                        \
        SRunner *runner = srunner_create(make_suite);                                                        \
        srunner_run_all(runner, CK_NORMAL);                                                                  \
        const int failed = srunner_ntests_failed(runner);                                                    \
        srunner_free(runner);                                                                                \
        return exit_of(failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE);                                           \
    }

#endif
