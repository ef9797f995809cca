#include "card-emu/bank/bank.h"

#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/secret.h"
#include "card-emu/bank/config.h"
#include "card-emu/bank/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef Posward__Business__V1__AuthorizeRequest authorize_request;

struct bank {
    Posward__Business__V1__Business_Service service; /* first: handlers get a pointer to it */
    const struct bank_config *config;
    struct pins *pins;
    struct ledger *ledger;
    int64_t started_ms;
};

static bool digits_between(const char *text, size_t least, size_t most)
{
    const size_t len = strlen(text);
    return len >= least && len <= most && digits_only(text, len);
}

static enum err_code read_key(const Posward__Business__V1__TransactionKey *from, struct ledger_key *out_key,
                              struct err *e)
{
    struct ledger_key key = {0};
    if (from == NULL)
        return err_set(e, ERR_INPUT, "key is missing");
    if (!digits_between(from->acquirer, 1, 11))
        return err_set(e, ERR_INPUT, "key.acquirer must be 1 to 11 digits");
    if (strlen(from->terminal_id) != 8)
        return err_set(e, ERR_INPUT, "key.terminal_id must be 8 characters");
    if (!digits_between(from->batch_number, 6, 6) || !digits_between(from->trace_number, 6, 6))
        return err_set(e, ERR_INPUT, "key.batch_number and key.trace_number must be 6 digits");
    snprintf(key.acquirer, sizeof key.acquirer, "%s", from->acquirer);
    snprintf(key.terminal_id, sizeof key.terminal_id, "%s", from->terminal_id);
    snprintf(key.batch, sizeof key.batch, "%s", from->batch_number);
    snprintf(key.trace, sizeof key.trace, "%s", from->trace_number);
    *out_key = key;
    return ERR_OK;
}

static void today(char out_yymm[5])
{
    const time_t now = time(NULL);
    struct tm tm = {0};
    localtime_r(&now, &tm);
    snprintf(out_yymm, 5, "%02u%02u", (unsigned)tm.tm_year % 100, (unsigned)(tm.tm_mon + 1) % 100);
}

static enum err_code read_pin(const struct bank *bank, const authorize_request *input,
                              struct ledger_purchase *p)
{
    struct err e = {0};
    p->pin = LEDGER_PIN_NONE;
    if (input->pin_block.len == 0)
        return ERR_OK;
    const enum err_code code = pins_open_block(bank->pins, input, p->pin_check, &e);
    p->pin = code == ERR_OK ? LEDGER_PIN_GIVEN : LEDGER_PIN_UNREADABLE;
    if (code != ERR_OK)
        log_failure(LOG_WARN, "PIN block cannot be read", &e, LOG_STR("terminal", p->key.terminal_id));
    return ERR_OK;
}

static enum err_code read_purchase(const struct bank *bank, const authorize_request *input,
                                   struct ledger_purchase *out_purchase, struct err *e)
{
    struct ledger_purchase p = {.amount = 0};
    TRY(read_key(input->key, &p.key, e));
    if (input->type != POSWARD__BUSINESS__V1__TRANSACTION_TYPE__TRANSACTION_TYPE_PURCHASE)
        return err_set(e, ERR_INPUT, "type must be PURCHASE");
    if (!digits_between(input->pan, 12, 19))
        return err_set(e, ERR_INPUT, "pan must be 12 to 19 digits");
    if (!digits_between(input->amount, 12, 12))
        return err_set(e, ERR_INPUT, "amount must be 12 digits");
    if (input->expiry[0] != '\0' && !digits_between(input->expiry, 4, 4))
        return err_set(e, ERR_INPUT, "expiry must be YYMM or empty");
    if (strcmp(input->currency, "156") != 0)
        return err_set(e, ERR_INPUT, "currency must be 156");
    snprintf(p.pan, sizeof p.pan, "%s", input->pan);
    snprintf(p.expiry, sizeof p.expiry, "%s", input->expiry);
    today(p.today);
    p.amount = strtoll(input->amount, NULL, 10);
    TRY(read_pin(bank, input, &p));
    *out_purchase = p;
    return ERR_OK;
}

static enum err_code authorize(const struct bank *bank, const authorize_request *input,
                               struct ledger_answer *out_answer, struct err *e)
{
    struct ledger_purchase p;
    TRY(read_purchase(bank, input, &p, e));
    if (p.pin == LEDGER_PIN_NONE && bank->config->require_pin) {
        *out_answer = (struct ledger_answer){.response_code = "55"};
        return ERR_OK;
    }
    const enum err_code code = ledger_purchase(bank->ledger, &p, out_answer, e);
    if (code == ERR_OK)
        log_event(LOG_INFO, "purchase", LOG_STR("terminal", p.key.terminal_id), LOG_STR("stan", p.key.trace),
                  LOG_STR("code", out_answer->response_code));
    secret_wipe(&p, sizeof p);
    return code;
}

static void serve_authorize(Posward__Business__V1__Business_Service *service, const authorize_request *input,
                            Posward__Business__V1__AuthorizeResponse_Closure closure, void *closure_data)
{
    const struct bank *bank = (const struct bank *)service;
    struct ledger_answer answer;
    struct err e = {0};
    if (authorize(bank, input, &answer, &e) != ERR_OK) {
        log_failure(LOG_WARN, "purchase refused", &e);
        rpc_call_fail(rpc_call_of(closure_data), &e);
        return;
    }
    Posward__Business__V1__AuthorizeResponse response = POSWARD__BUSINESS__V1__AUTHORIZE_RESPONSE__INIT;
    response.response_code = answer.response_code;
    response.authorization_code = answer.authorization;
    response.reference_number = answer.reference;
    response.issuer_id = bank->config->issuer_id;
    closure(&response, closure_data);
}

static enum err_code reverse(const struct bank *bank, const Posward__Business__V1__ReverseRequest *input,
                             bool *out_undone, struct err *e)
{
    struct ledger_key key;
    TRY(read_key(input->key, &key, e));
    TRY(ledger_reverse(bank->ledger, &key, out_undone, e));
    log_event(LOG_INFO, "reversal", LOG_STR("terminal", key.terminal_id), LOG_STR("stan", key.trace),
              LOG_STR("reason", input->reason), LOG_INT("undone", *out_undone));
    return ERR_OK;
}

static void serve_reverse(Posward__Business__V1__Business_Service *service,
                          const Posward__Business__V1__ReverseRequest *input,
                          Posward__Business__V1__ReverseResponse_Closure closure, void *closure_data)
{
    Posward__Business__V1__ReverseResponse response = POSWARD__BUSINESS__V1__REVERSE_RESPONSE__INIT;
    struct err e = {0};
    bool undone = false;
    if (reverse((const struct bank *)service, input, &undone, &e) != ERR_OK) {
        rpc_call_fail(rpc_call_of(closure_data), &e);
        return;
    }
    response.undone = undone;
    closure(&response, closure_data);
}

static void serve_get_status(Posward__Business__V1__Business_Service *service,
                             const Posward__Business__V1__GetStatusRequest *input,
                             Posward__Business__V1__GetStatusResponse_Closure closure, void *closure_data)
{
    const struct bank *bank = (const struct bank *)service;
    struct ledger_counts counts;
    struct err e = {0};
    (void)input;
    if (ledger_count(bank->ledger, &counts, &e) != ERR_OK) {
        rpc_call_fail(rpc_call_of(closure_data), &e);
        return;
    }
    Posward__Business__V1__GetStatusResponse response = POSWARD__BUSINESS__V1__GET_STATUS_RESPONSE__INIT;
    response.version = (char *)(uintptr_t)POSWARD_VERSION;
    response.uptime_s = (clock_monotonic_ms() - bank->started_ms) / 1000;
    response.authorized = counts.authorized;
    response.declined = counts.declined;
    response.reversed = counts.reversed;
    closure(&response, closure_data);
}

static enum err_code open_account(struct bank *bank, const struct account_config *config, struct err *e)
{
    struct ledger_account account = {.balance = config->balance};
    TRY(pins_check_value(bank->pins, config->pan, config->pin, account.pin_check, e));
    snprintf(account.pan, sizeof account.pan, "%s", config->pan);
    if (config->expiry != NULL)
        snprintf(account.expiry, sizeof account.expiry, "%s", config->expiry);
    return ledger_open_account(bank->ledger, &account, e);
}

static enum err_code open_parts(struct bank *bank, struct rpc_server *server, struct err *e)
{
    const struct account_config *accounts = bank->config->accounts.items;
    struct ledger_counts counts;
    TRY(ledger_open(bank->config->store_path, &bank->ledger, e));
    TRY(ledger_count(bank->ledger, &counts, e));
    TRY(pins_open(bank->config, counts.accounts == 0, &bank->pins, e));
    for (size_t i = 0; i < bank->config->accounts.count; i++)
        TRY(open_account(bank, &accounts[i], e));
    return rpc_server_add(server, &bank->service.base, e);
}

static void stop(void *state)
{
    struct bank *bank = state;
    if (bank == NULL)
        return;
    ledger_free(bank->ledger);
    pins_free(bank->pins);
    free(bank);
}

static enum err_code start(const void *config, struct rpc_server *const *servers, void **out_state,
                           struct err *e)
{
    struct bank *bank = malloc(sizeof *bank);
    if (bank == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    *bank = (struct bank){.service = POSWARD__BUSINESS__V1__BUSINESS__INIT(serve_),
                          .config = config,
                          .started_ms = clock_monotonic_ms()};
    const enum err_code code = open_parts(bank, servers[0], e);
    if (code != ERR_OK) {
        stop(bank);
        return code;
    }
    *out_state = bank;
    return ERR_OK;
}

static const struct roles_row bank_roles[] = {
    {"/posward.business.v1.Business/Authorize", ROLE_POSP},
    {"/posward.business.v1.Business/Reverse", ROLE_POSP},
    {"/posward.business.v1.Business/GetStatus", ROLE_POSP | ROLE_OPERATOR | ROLE_AUDITOR | ROLE_MONITOR},
    {0},
};

const struct service_spec bank_service = {
    .name = "posward-bank",
    .summary = "A business unit with its own card accounts: authorises, verifies PINs under its zone key.",
    .rows = bank_config_rows,
    .config_bytes = sizeof(struct bank_config),
    .check = bank_config_check,
    .start = start,
    .roles = bank_roles,
    .stop = stop,
};
