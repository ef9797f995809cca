/* What the rows of `policy` mean. */
#include "hsm-service/config.h"

#include <string.h>

bool hsm_config_in_token(const struct hsm_config *config)
{
    return strcmp(config->exposure, "in_token") == 0;
}

bool hsm_config_missing_allowed(const struct hsm_config *config)
{
    return strcmp(config->flows_missing, "allow") == 0;
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
    return ERR_OK;
}
