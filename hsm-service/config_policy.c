/* What the rows of `policy` mean. */
#include "hsm-service/config.h"

#include "base/hex.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DATE_CHARACTERS 10 /* YYYY-MM-DD */
#define DAY_MS          86400000

bool hsm_config_in_token(const struct hsm_config *config)
{
    return strcmp(config->exposure, "in_token") == 0;
}

bool hsm_config_missing_allowed(const struct hsm_config *config)
{
    return strcmp(config->flows_missing, "allow") == 0;
}

static unsigned number(const char *digits, size_t count)
{
    unsigned value = 0;
    for (size_t i = 0; i < count; i++)
        value = value * 10 + (unsigned)(digits[i] - '0');
    return value;
}

/* A day that the calendar does not have comes back as another one. */
static bool read_date(const char *text, int64_t *out_start_ms)
{
    if (strlen(text) != DATE_CHARACTERS || text[4] != '-' || text[7] != '-' || !digits_only(text, 4) ||
        !digits_only(text + 5, 2) || !digits_only(text + 8, 2))
        return false;
    struct tm day = {.tm_year = (int)number(text, 4) - 1900,
                     .tm_mon = (int)number(text + 5, 2) - 1,
                     .tm_mday = (int)number(text + 8, 2)};
    const struct tm asked = day;
    const time_t start_s = timegm(&day);
    *out_start_ms = (int64_t)start_s * 1000;
    return day.tm_year == asked.tm_year && day.tm_mon == asked.tm_mon && day.tm_mday == asked.tm_mday &&
           start_s > 0;
}

enum err_code hsm_config_form1_until(const struct hsm_config *c, int64_t *out_ms, struct err *e)
{
    int64_t start_ms = -DAY_MS; /* no date: 0 */
    if (c->blob_form1_until[0] != '\0' && !read_date(c->blob_form1_until, &start_ms))
        return err_set(e, ERR_INPUT,
                       "policy.blob_form1_until is '%.20s'; it must be a date, YYYY-MM-DD, or empty",
                       c->blob_form1_until);
    *out_ms = start_ms + DAY_MS;
    return ERR_OK;
}

enum err_code hsm_config_check_policy(const struct hsm_config *c, struct err *e)
{
    if (strcmp(c->exposure, "any") != 0 && !hsm_config_in_token(c))
        return err_set(e, ERR_INPUT, "policy.exposure is '%.20s'; it must be any or in_token", c->exposure);
    if (strcmp(c->flows_missing, "refuse") != 0 && !hsm_config_missing_allowed(c))
        return err_set(e, ERR_INPUT, "policy.flows_missing is '%.20s'; it must be refuse or allow",
                       c->flows_missing);
    if (c->tdes_mak_bytes_min != HSM_MAK_SINGLE && c->tdes_mak_bytes_min != HSM_MAK_DOUBLE)
        return err_set(e, ERR_INPUT, "policy.tdes_mak_bytes_min is %lld; it must be %d or %d",
                       (long long)c->tdes_mak_bytes_min, HSM_MAK_SINGLE, HSM_MAK_DOUBLE);
    int64_t until_ms;
    return hsm_config_form1_until(c, &until_ms, e);
}
