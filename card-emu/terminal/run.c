/* A run of purchases that outlives the death of any process around it: the same message goes out until it is
 * answered. */
#include "base/clock.h"
#include "card-emu/terminal/report.h"
#include "card-emu/terminal/terminal.h"

#include <stdio.h>
#include <string.h>

#define RETRY_MS 200

static bool may_pass(enum err_code code)
{
    return code == ERR_IO || code == ERR_TIMEOUT || code == ERR_UNAVAILABLE;
}

/* After a failure of either line, both start afresh. */
static enum err_code wait_and_retry(struct terminal *t, enum err_code code, int64_t deadline_ms,
                                    struct err *e)
{
    if (!may_pass(code))
        return code;
    pad_drop(&t->pad);
    host_drop(&t->host);
    if (clock_monotonic_ms() + RETRY_MS > deadline_ms)
        return err_context(e, "trace %06u is not answered yet and the time is up", t->state.trace);
    clock_sleep_ms(RETRY_MS);
    return ERR_OK;
}

static enum err_code until_answered(struct terminal *t, int64_t deadline_ms, struct answer *answer,
                                    struct err *e)
{
    static struct sent_message sent;
    bool built = false;
    for (;;) {
        enum err_code code = built ? ERR_OK : message_purchase(t, &sent, e);
        built = code == ERR_OK;
        if (built)
            code = message_exchange(t, &sent, true, answer, e);
        if (built && code == ERR_OK)
            return ERR_OK;
        TRY(wait_and_retry(t, code, deadline_ms, e));
    }
}

static void print_answered(const struct terminal *t, const struct answer *answer)
{
    const char *trace = iso_text(&answer->message, 11), *reference = iso_text(&answer->message, 37);
    if (reference == NULL)
        reference = "-";
    if (t->options->json)
        report_step(true, "purchase", report_code_text(answer->f39), LOG_STR("trace", trace),
                    LOG_STR("F39", answer->f39), LOG_STR("reference", reference));
    else
        printf("%s %s %s\n", trace, answer->f39, reference);
    fflush(stdout);
}

enum err_code flow_run(struct terminal *t, enum outcome *out, struct err *e)
{
    static struct answer answer;
    const int64_t deadline_ms = clock_monotonic_ms() + t->options->seconds * 1000;
    enum outcome worst = OUTCOME_DONE;
    for (int64_t i = 0; i < t->options->count && clock_monotonic_ms() < deadline_ms; i++) {
        TRY(state_next_trace(t->options->state, &t->state, e));
        TRY(until_answered(t, deadline_ms, &answer, e));
        print_answered(t, &answer);
        if (strcmp(answer.f39, "00") != 0)
            worst = OUTCOME_DECLINED;
    }
    *out = worst;
    return ERR_OK;
}
