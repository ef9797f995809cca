#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "iso8583/mask.h"
#include "posp/answer.h"
#include "posp/purchase.h"
#include "posp/reference.h"
#include "posp/reversals.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define REPEAT_POLL_MS  50
#define REPEAT_EXTRA_MS 2000  /* beyond forward.timeout_ms: for the HSM and the store */
#define CARD_SCHEME     "CUP" /* field 63.1 of an answer */
#define ISSUER_MAX      25    /* field 44 */

static void fill_entry(const struct purchase *p, struct journal_entry *entry)
{
    const struct iso_message *m = p->request->message;
    char masked[ISO_MASKED_BYTES];
    *entry = (struct journal_entry){.generation = p->proven->generation, .created_ms = clock_wall_ms()};
    iso_mask_pan(p->card.pan, masked);
    const struct {
        char *to;
        size_t capacity;
        const char *from;
    } texts[] = {
        {entry->terminal_id, sizeof entry->terminal_id, p->request->device.terminal_id},
        {entry->merchant_id, sizeof entry->merchant_id, p->request->device.merchant_id},
        {entry->batch, sizeof entry->batch, p->request->f60.batch},
        {entry->trace, sizeof entry->trace, iso_text(m, 11)},
        {entry->masked_pan, sizeof entry->masked_pan, masked},
        {entry->processing_code, sizeof entry->processing_code, iso_text(m, 3)},
        {entry->amount, sizeof entry->amount, iso_text(m, 4)},
        {entry->currency, sizeof entry->currency, iso_text(m, 49)},
        {entry->entry_mode, sizeof entry->entry_mode, iso_text(m, 22)},
        {entry->unit, sizeof entry->unit, p->route->unit},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        snprintf(texts[i].to, texts[i].capacity, "%s", texts[i].from);
    memcpy(entry->mac, p->mac, sizeof entry->mac);
}

/* The MAC stands for the whole content while the keys are the same. After a new sign-in the repeat carries
 * another one, and only what the journal knows can be compared. */
static bool same_content(const struct journal_entry *a, const struct journal_entry *b)
{
    if (a->generation == b->generation && !secret_equal(a->mac, b->mac, sizeof a->mac))
        return false;
    return strcmp(a->masked_pan, b->masked_pan) == 0 && strcmp(a->amount, b->amount) == 0 &&
           strcmp(a->processing_code, b->processing_code) == 0 && strcmp(a->currency, b->currency) == 0 &&
           strcmp(a->entry_mode, b->entry_mode) == 0 && strcmp(a->merchant_id, b->merchant_id) == 0;
}

/* What is sent is what is stored, plus the card number, which is not stored. */
static enum err_code with_pan(const struct purchase *p, struct iso_message *reply, struct err *e)
{
    iso_clear(reply, 2);
    return p->pan_was_clear ? iso_set_text(reply, 2, p->card.pan, e) : ERR_OK;
}

static enum err_code store_form(const struct iso_message *reply, struct journal_entry *entry, struct err *e)
{
    struct iso_message copy = *reply;
    iso_clear(&copy, 2);
    const enum err_code code = iso_pack(&copy, entry->answer, sizeof entry->answer, &entry->answer_len, e);
    iso_message_drop(&copy);
    return code;
}

static enum err_code fill_answer(struct purchase *p, const struct journal_entry *entry, const char *issuer,
                                 struct iso_message *reply, struct err *e)
{
    char time_text[7], date_text[5], issuer_text[ISSUER_MAX + 1];
    TRY(answer_begin(p->posp, p->request->message, entry->response_code, entry->reference, reply, e));
    TRY(with_pan(p, reply, e));
    local_time_fields(entry->created_ms, time_text, date_text);
    TRY(iso_set_text(reply, 15, date_text, e));
    if (entry->authorization[0] != '\0')
        TRY(iso_set_text(reply, 38, entry->authorization, e));
    if (issuer != NULL && issuer[0] != '\0') {
        snprintf(issuer_text, sizeof issuer_text, "%s", issuer);
        TRY(iso_set_text(reply, 44, issuer_text, e));
    }
    return iso_set_text(reply, 63, CARD_SCHEME, e);
}

/* Make the answer and put it on record. An approval that cannot be sealed is none: it will be reversed. */
static enum err_code conclude(struct purchase *p, struct journal_entry *entry, const char *issuer,
                              struct answer *out_answer, struct err *e)
{
    struct iso_message reply;
    iso_message_init(&reply, p->posp->dialect);
    enum err_code code = fill_answer(p, entry, issuer, &reply, e);
    if (code == ERR_OK)
        code = answer_seal(p->posp, p->request->rules, p->proven, &reply, out_answer, e);
    if (code == ERR_OK)
        code = store_form(&reply, entry, e);
    iso_message_drop(&reply);
    if (code == ERR_OK)
        code = journal_settle(p->posp->store, entry, e);
    if (code == ERR_OK)
        log_event(LOG_DEBUG, "purchase answered", LOG_STR("terminal", entry->terminal_id),
                  LOG_STR("stan", entry->trace), LOG_STR("code", entry->response_code));
    return code;
}

static bool code_is_sound(const char *code)
{
    return code != NULL && strlen(code) == 2 && isalnum((unsigned char)code[0]) &&
           isalnum((unsigned char)code[1]);
}

static void set_outcome(struct journal_entry *entry, const char *code, enum journal_state state)
{
    snprintf(entry->response_code, sizeof entry->response_code, "%s", code);
    entry->state = state;
}

static void read_response(const Posward__Business__V1__AuthorizeResponse *response,
                          struct journal_entry *entry)
{
    if (!code_is_sound(response->response_code)) {
        set_outcome(entry, F39_FAULT, JOURNAL_REVERSING);
        return;
    }
    set_outcome(entry, response->response_code, JOURNAL_ANSWERED);
    if (strcmp(response->response_code, F39_APPROVED) == 0 && strlen(response->authorization_code) == 6)
        snprintf(entry->authorization, sizeof entry->authorization, "%s", response->authorization_code);
}

/* Whatever went wrong, the unit may have done it: decline, and reverse. */
static const char *code_of_unit(enum err_code error)
{
    switch ((int)error) {
    case ERR_UNAVAILABLE:
        return F39_ISSUER_AWAY;
    case ERR_TIMEOUT:
    case ERR_CANCELLED:
        return F39_NO_ANSWER;
    default:
        return F39_FAULT;
    }
}

static void clear_track(const struct iso_card *card, char out_track[ISO_TRACK2_DIGITS_MAX + 1])
{
    snprintf(out_track, ISO_TRACK2_DIGITS_MAX + 1, "%s", card->track);
    char *separator = strchr(out_track, 'D');
    if (separator != NULL)
        *separator = '=';
}

static enum err_code authorize(struct purchase *p, struct journal_entry *entry,
                               Posward__Business__V1__AuthorizeResponse **out_response, struct err *e)
{
    char track[ISO_TRACK2_DIGITS_MAX + 1];
    clear_track(&p->card, track);
    Posward__Business__V1__TransactionKey key = POSWARD__BUSINESS__V1__TRANSACTION_KEY__INIT;
    key.acquirer = p->posp->config->acquirer_id;
    key.terminal_id = entry->terminal_id;
    key.batch_number = entry->batch;
    key.trace_number = entry->trace;
    Posward__Business__V1__AuthorizeRequest request = POSWARD__BUSINESS__V1__AUTHORIZE_REQUEST__INIT;
    request.key = &key;
    request.type = POSWARD__BUSINESS__V1__TRANSACTION_TYPE__TRANSACTION_TYPE_PURCHASE;
    request.merchant_id = entry->merchant_id;
    request.pan = p->card.pan;
    request.expiry = p->card.expiry;
    request.amount = entry->amount;
    request.currency = entry->currency;
    request.track2 = track;
    request.local_time_ms = entry->created_ms;
    if (p->outcome.pin_len > 0) {
        request.pin_block = (ProtobufCBinaryData){.data = p->outcome.pin_block, .len = p->outcome.pin_len};
        request.pin_format = units_pin_target(p->route, p->request->rules->pin_format).unit_format;
        request.zone = (char *)(uintptr_t)p->route->zone;
        request.zone_key_version = p->outcome.pin_zone_version;
    }
    const enum err_code code = units_authorize(p->posp->units, entry->unit, &request, out_response, e);
    secret_wipe(track, sizeof track);
    return code;
}

/* The last resort: the terminal is declined without a stored answer, and the reversals' thread takes over. */
static enum err_code give_up(struct purchase *p, struct journal_entry *entry, const struct err *why,
                             struct answer *out_answer, struct err *e)
{
    log_failure(LOG_ERROR, "purchase cannot be answered as it went", why,
                LOG_STR("terminal", entry->terminal_id), LOG_STR("stan", entry->trace),
                LOG_STR("code", entry->response_code));
    if (strcmp(entry->response_code, F39_APPROVED) == 0)
        set_outcome(entry, F39_FAULT, JOURNAL_REVERSING);
    entry->authorization[0] = '\0';
    entry->answer_len = 0;
    TRY(journal_settle(p->posp->store, entry, e));
    return purchase_decline(p, entry->response_code, entry->reference, out_answer, e);
}

/* Patent S410-S412. */
static enum err_code send_on(struct purchase *p, struct journal_entry *entry, struct answer *out_answer,
                             struct err *e)
{
    struct err why = {0};
    Posward__Business__V1__AuthorizeResponse *response = NULL;
    const enum err_code sent = authorize(p, entry, &response, &why);
    if (sent == ERR_OK) {
        read_response(response, entry);
    } else {
        set_outcome(entry, code_of_unit(sent), JOURNAL_REVERSING);
        log_failure(LOG_WARN, "business unit gave no answer", &why, LOG_STR("unit", entry->unit),
                    LOG_STR("terminal", entry->terminal_id), LOG_STR("stan", entry->trace));
    }
    enum err_code code = conclude(p, entry, response != NULL ? response->issuer_id : NULL, out_answer, &why);
    if (response != NULL)
        posward__business__v1__authorize_response__free_unpacked(response, NULL);
    if (code != ERR_OK)
        code = give_up(p, entry, &why, out_answer, e);
    if (entry->state == JOURNAL_REVERSING)
        reversals_wake(p->posp->reversals);
    return code;
}

static enum err_code poll_answer(struct purchase *p, struct journal_entry *entry, struct err *e)
{
    const int64_t until = clock_monotonic_ms() + p->posp->config->forward_timeout_ms + REPEAT_EXTRA_MS;
    while (entry->state == JOURNAL_FORWARDED && clock_monotonic_ms() < until) {
        clock_sleep_ms(REPEAT_POLL_MS);
        TRY(journal_get(p->posp->store, entry->terminal_id, entry->batch, entry->trace, entry, e));
    }
    return ERR_OK;
}

/* The first of the pair may still be under way on another connection. Not all workers may wait like that:
 * beyond an eighth of them the terminal is told to try again. */
static enum err_code wait_for_answer(struct purchase *p, struct journal_entry *entry, struct err *e)
{
    enum err_code code = ERR_OK;
    if (atomic_fetch_add(&p->posp->repeats_waiting, 1) <= p->posp->config->terminals_workers / 8)
        code = poll_answer(p, entry, e);
    atomic_fetch_sub(&p->posp->repeats_waiting, 1);
    return code;
}

static enum err_code replay_stored(struct purchase *p, const struct journal_entry *entry,
                                   struct answer *out_answer, struct err *e)
{
    struct iso_message reply;
    iso_message_init(&reply, p->posp->dialect);
    enum err_code code = iso_unpack(&reply, p->posp->dialect, entry->answer, entry->answer_len, e);
    if (code == ERR_OK)
        code = with_pan(p, &reply, e);
    if (code == ERR_OK && entry->generation == p->proven->generation) {
        code = answer_pack(&reply, out_answer, e);
    } else if (code == ERR_OK) { /* the terminal has signed in since: it can only check the new key */
        iso_clear(&reply, 64);
        code = answer_seal(p->posp, p->request->rules, p->proven, &reply, out_answer, e);
    }
    iso_message_drop(&reply);
    return code;
}

static enum err_code replay(struct purchase *p, const struct journal_entry *wanted,
                            struct journal_entry *known, struct answer *out_answer, struct err *e)
{
    if (!same_content(wanted, known)) {
        log_event(LOG_WARN, "trace number used twice", LOG_STR("terminal", known->terminal_id),
                  LOG_STR("batch", known->batch), LOG_STR("stan", known->trace));
        return purchase_decline(p, F39_DUPLICATE, NULL, out_answer, e);
    }
    TRY(wait_for_answer(p, known, e));
    if (known->answer_len > 0)
        return replay_stored(p, known, out_answer, e);
    if (known->state == JOURNAL_FORWARDED)
        return purchase_decline(p, F39_FAULT, known->reference, out_answer, e);
    if (known->response_code[0] == '\0')
        set_outcome(known, F39_NO_ANSWER, known->state);
    known->generation = p->proven->generation;
    return conclude(p, known, NULL, out_answer, e);
}

enum err_code forward_purchase(struct purchase *p, struct answer *out_answer, struct err *e)
{
    struct journal_entry entry, known;
    fill_entry(p, &entry);
    known = entry;
    const enum err_code code = journal_begin(p->posp->store, &known, e);
    if (code == ERR_EXISTS)
        return replay(p, &entry, &known, out_answer, e);
    if (code != ERR_OK)
        return code;
    return send_on(p, &known, out_answer, e);
}
