#include "tests/support/suite.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FOLDERS_OPEN 16

static char scratch[] = "/tmp/posward-suite-XXXXXX";

void suite_scratch_open(void)
{
    if (strcmp(scratch + sizeof scratch - 7, "XXXXXX") != 0)
        return;
    if (mkdtemp(scratch) == NULL || setenv("TMPDIR", scratch, 1) != 0) {
        perror(scratch);
        exit(EXIT_FAILURE);
    }
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    (void)remove(path); /* what cannot go must not keep the rest */
    return 0;
}

int suite_run(Suite *suite)
{
    suite_scratch_open();
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    (void)nftw(scratch, remove_entry, FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

void suite_scratch_name(const char *stem, char *out_name, size_t capacity)
{
    const char *folder = getenv("TMPDIR");
    snprintf(out_name, capacity, "%s/%s-XXXXXX", folder != NULL ? folder : "/tmp", stem);
}
