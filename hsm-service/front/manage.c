#include "hsm-service/front/manage.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm-service/front/audit.h"
#include "hsm-service/front/manage_serve.h"
#include "hsm-service/front/manage_state.h"
#include "hsm-service/front/state.h"
#include "run/prometheus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVERY_MS 1000 /* the thread looks at the clock */
#define NAP_MS   50

/* ---- The thread ---- */

static bool can_work(struct front *f)
{
    pthread_mutex_lock(&f->lock);
    const bool can = f->ready > 0;
    pthread_mutex_unlock(&f->lock);
    return can;
}

static void settle_interrupted(struct manage *m)
{
    const struct control_caller service = {.now_ms = clock_wall_ms()};
    struct control_proposal *list = NULL;
    struct err e = {0};
    size_t count = 0;
    if (!can_work(m->front) || control_executing(m->control, &list, &count, &e) != ERR_OK)
        return;
    for (size_t i = 0; i < count && !atomic_load(&m->stopping); i++)
        if (manage_execute(m, &service, &list[i], &e) != ERR_OK)
            log_failure(LOG_WARN, "a proposal that was agreed on is not carried out yet", &e,
                        LOG_STR("proposal", list[i].id));
    control_proposals_free(list, count);
}

static void *look_after(void *context)
{
    struct manage *const m = context;
    struct err e = {0};
    for (int64_t next_ms = 0; !atomic_load(&m->stopping); clock_sleep_ms(NAP_MS)) {
        if (clock_monotonic_ms() < next_ms)
            continue;
        next_ms = clock_monotonic_ms() + EVERY_MS;
        if (control_expire(m->control, clock_wall_ms(), &e) != ERR_OK)
            log_failure(LOG_WARN, "proposals past their time could not be closed", &e);
        settle_interrupted(m);
    }
    return NULL;
}

/* ---- Start and end ---- */

static enum err_code record(void *context, const struct control_event *event, struct err *e)
{
    const struct manage *const m = context;
    return front_audit_control(m->front->audit, event, e);
}

static struct control_policy configured(const struct hsm_config *c)
{
    return (struct control_policy){
        .in_token = hsm_config_in_token(c),
        .approvals = (uint32_t)c->keymgmt_approvals,
        .expires_s = c->keymgmt_expire_seconds,
        .pin = {(uint32_t)c->pin_terminal_per_minute, (uint32_t)c->pin_terminal_per_hour,
                (uint32_t)c->pin_account_per_minute, (uint32_t)c->pin_account_per_hour}};
}

static enum err_code open_control(struct manage *m, struct err *e)
{
    const struct hsm_config *const c = m->front->config;
    const struct control_options options = {
        .path = c->keymgmt_path, .configured = configured(c), .record = record, .context = m};
    atomic_store(&m->front->in_token, options.configured.in_token);
    if (c->keymgmt_path == NULL || c->keymgmt_path[0] == '\0')
        return ERR_OK;
    TRY(control_open(&options, &m->control, e));
    manage_apply_policy(m);
    return ERR_OK;
}

enum err_code manage_new(struct front *f, struct rpc_server *server, struct manage **out_manage,
                         struct err *e)
{
    struct manage *const m = calloc(1, sizeof *m);
    if (m == NULL)
        return err_set(e, ERR_LIMIT, "no memory for key management");
    m->service =
        (Posward__Hsm__V1__KeyManagement_Service)POSWARD__HSM__V1__KEY_MANAGEMENT__INIT(manage_serve_);
    m->front = f;
    pthread_mutex_init(&m->executing, NULL);
    enum err_code code = open_control(m, e);
    if (code == ERR_OK)
        code = rpc_server_add(server, &m->service.base, e);
    if (code != ERR_OK) {
        manage_free(m);
        return code;
    }
    *out_manage = m;
    return ERR_OK;
}

void manage_granted(struct manage *m, struct roles *roles)
{
    m->roles = roles;
    if (m->control == NULL || m->front->config->service.insecure)
        return;
    const size_t operators = roles_count(roles, ROLE_OPERATOR);
    const uint32_t approvals = control_policy_now(m->control).approvals;
    if (operators < approvals)
        log_event(LOG_ERROR,
                  "fewer identities have role operator than approvals are needed: nobody can complete a "
                  "proposal; add some to roles, send SIGHUP",
                  LOG_INT("operators", (int64_t)operators), LOG_INT("approvals", approvals));
}

enum err_code manage_start(struct manage *m, struct err *e)
{
    if (m->control == NULL)
        return ERR_OK;
    const int failed = pthread_create(&m->thread, NULL, look_after, m);
    if (failed != 0)
        return err_native(e, ERR_IO, failed, "cannot start key management: %s", strerror(failed));
    m->runs = true;
    return ERR_OK;
}

void manage_stop(struct manage *m)
{
    if (m == NULL)
        return;
    atomic_store(&m->stopping, true);
    if (m->runs)
        pthread_join(m->thread, NULL);
    m->runs = false;
}

void manage_free(struct manage *m)
{
    if (m == NULL)
        return;
    manage_stop(m);
    control_close(m->control);
    pthread_mutex_destroy(&m->executing);
    free(m);
}

void manage_metrics(struct manage *m, struct prometheus *page)
{
    struct control_counts counts;
    struct err e = {0};
    if (m->control == NULL || control_count(m->control, &counts, &e) != ERR_OK)
        return;
    prometheus_family(page, "posward_hsm_proposals", PROMETHEUS_GAUGE,
                      "Proposals of key management, by state.");
    for (int state = CONTROL_PENDING; state < CONTROL_STATE_COUNT; state++) {
        const struct prometheus_label labels[] = {{"state", control_state_name((enum control_state)state)},
                                                  {0}};
        prometheus_count(page, labels, counts.by_state[state]);
    }
    prometheus_family(page, "posward_hsm_proposal_oldest_seconds", PROMETHEUS_GAUGE,
                      "Age of the oldest proposal that waits.");
    const int64_t age_ms = counts.oldest_pending_ms != 0 ? clock_wall_ms() - counts.oldest_pending_ms : 0;
    prometheus_number(page, NULL, (double)age_ms / 1000);
}
