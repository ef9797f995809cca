#include "run/cli_internal.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_PATH "/etc/posward/posward.yaml"

const char *const cli_endpoint_names[CLI_ENDPOINT_COUNT] = {[CLI_HSM] = "hsm",
                                                            [CLI_HSM_CONTROL] = "hsm_control",
                                                            [CLI_POSP] = "posp",
                                                            [CLI_POSV] = "posv",
                                                            [CLI_BANK] = "bank"};

#define ENDPOINT(name, id, address)                                                                          \
    {                                                                                                        \
        .key = "endpoints." name, .type = CONF_STRING,                                                       \
        .offset = offsetof(struct cli_config, endpoints) + (id) * sizeof(char *), .fallback = (address),     \
        .help = "Address of this service, such as 127.0.0.1:7001; empty: not in use."                        \
    }

const struct conf_row cli_config_rows[] = {
    ENDPOINT("hsm", CLI_HSM, "127.0.0.1:7001"),
    ENDPOINT("hsm_control", CLI_HSM_CONTROL, "127.0.0.1:7011"),
    ENDPOINT("posp", CLI_POSP, "127.0.0.1:7002"),
    ENDPOINT("posv", CLI_POSV, "127.0.0.1:7003"),
    ENDPOINT("bank", CLI_BANK, "127.0.0.1:7010"),
    {.key = "tls.ca",
     .type = CONF_STRING,
     .offset = offsetof(struct cli_config, tls_ca),
     .help = "PEM file of the authority that the services' certificates must chain to."},
    {.key = "tls.cert",
     .type = CONF_STRING,
     .offset = offsetof(struct cli_config, tls_cert),
     .help = "PEM file of the operator's certificate chain."},
    {.key = "tls.key",
     .type = CONF_STRING,
     .offset = offsetof(struct cli_config, tls_key),
     .help = "PEM file of the operator's private key."},
    {.key = "tls.server_name",
     .type = CONF_STRING,
     .offset = offsetof(struct cli_config, tls_server_name),
     .help = "Name to check in the services' certificates; absent: the host of the address."},
    {.key = "tls.insecure",
     .type = CONF_BOOL,
     .offset = offsetof(struct cli_config, insecure),
     .fallback = "false",
     .help = "Talk in plain text, on loopback only. Without any configuration file this is true."},
    {.key = "timeout_ms",
     .type = CONF_INT,
     .offset = offsetof(struct cli_config, timeout_ms),
     .fallback = "10000",
     .least = 1,
     .most = 3600000,
     .help = "Longest wait for an answer."},
    CONF_END};

enum err_code cli_config_load(const char *path, struct cli_config *out_config, struct err *e)
{
    const char *chosen = path != NULL ? path : getenv("POSWARD_CONFIG");
    if (chosen == NULL && access(SYSTEM_PATH, F_OK) == 0)
        chosen = SYSTEM_PATH;
    struct cli_config config = {0};
    TRY(conf_load(chosen, cli_config_rows, &config, e));
    if (chosen == NULL)
        config.insecure = true;
    *out_config = config;
    return ERR_OK;
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static enum err_code open_channel(struct cli *cli, size_t i, struct err *e)
{
    const struct cli_config *const c = &cli->config;
    if (!is_given(c->endpoints[i]))
        return err_set(e, ERR_INPUT, "endpoints.%s has no address in the client configuration",
                       cli_endpoint_names[i]);
    const struct rpc_channel_options options = {
        .target = c->endpoints[i],
        .tls = {.ca_path = is_given(c->tls_ca) ? c->tls_ca : NULL,
                .cert_path = is_given(c->tls_cert) ? c->tls_cert : NULL,
                .key_path = is_given(c->tls_key) ? c->tls_key : NULL,
                .server_name = is_given(c->tls_server_name) ? c->tls_server_name : NULL,
                .insecure = c->insecure}};
    return rpc_channel_new(&options, &cli->channels[i], e);
}

struct rpc_channel *cli_channel(struct cli *cli, const char *endpoint, struct err *e)
{
    for (size_t i = 0; i < CLI_ENDPOINT_COUNT; i++) {
        if (strcmp(cli_endpoint_names[i], endpoint) != 0)
            continue;
        if (cli->channels[i] == NULL && open_channel(cli, i, e) != ERR_OK)
            return NULL;
        return cli->channels[i];
    }
    (void)err_set(e, ERR_INPUT, "'%.30s' is no endpoint: there are " CLI_ENDPOINT_WORDS, endpoint);
    return NULL;
}

bool cli_json(const struct cli *cli)
{
    return cli->json;
}

int64_t cli_timeout_ms(const struct cli *cli)
{
    return cli->config.timeout_ms;
}

void cli_drop(struct cli *cli)
{
    for (size_t i = 0; i < CLI_ENDPOINT_COUNT; i++) {
        rpc_channel_free(cli->channels[i]);
        cli->channels[i] = NULL;
    }
    conf_drop(cli_config_rows, &cli->config);
}
