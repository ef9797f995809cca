#include "posp/purchase.h"

#include "base/log.h"
#include "base/secret.h"
#include "posp/answer.h"
#include "posp/handlers.h"
#include "posp/reseal.h"

#include <string.h>

/* A step returns NULL to go on, or the response code that ends the purchase and the reason in `e`. */
typedef const char *(*step_fn)(struct purchase *p, struct err *e);

static const char *read_card(struct purchase *p, struct err *e)
{
    const struct iso_suite *line = p->request->rules->line;
    if (iso_card_read(p->request->message, line, &p->card, e) != ERR_OK)
        return F39_FORMAT;
    p->pan_was_clear = p->card.pan[0] != '\0';
    if (!p->card.track_enciphered && iso_card_complete(&p->card, line, NULL, 0, e) != ERR_OK)
        return F39_FORMAT;
    return NULL;
}

static const char *check_amount(struct purchase *p, struct err *e)
{
    const char *amount = iso_text(p->request->message, 4);
    if (strspn(amount, "0") != strlen(amount))
        return NULL;
    (void)err_set(e, ERR_INPUT, "field 4: the amount is zero");
    return F39_AMOUNT;
}

static bool set_serves(const struct purchase *p, const struct store_key_set *set)
{
    return strcmp(set->psam_number, p->request->device.psam_number) == 0 &&
           set->suite == p->request->device.suite && set->mak.len > 0 &&
           (p->card.pin_len == 0 || set->pik.len > 0) && (p->card.cipher_len == 0 || set->tdk.len > 0);
}

/* Keys of a card that is not in the terminal any more do not count. */
static const char *find_keys(struct purchase *p, struct err *e)
{
    size_t len = 0, kept = 0;
    p->mac = iso_view_bytes(p->request->message, 64, &len);
    if (p->mac == NULL || len != HSM_MAC_BYTES) {
        (void)err_set(e, ERR_INPUT, "field 64: no MAC");
        return F39_MAC;
    }
    if (store_keys_get(p->posp->store, p->request->device.terminal_id, &p->keys, e) != ERR_OK)
        return F39_FAULT;
    for (size_t i = 0; i < p->keys.count; i++)
        if (set_serves(p, &p->keys.sets[i]))
            p->keys.sets[kept++] = p->keys.sets[i];
    p->keys.count = kept;
    if (kept > 0)
        return NULL;
    (void)err_set(e, ERR_STATE, "no working keys for this message; the terminal must sign in");
    return F39_PIN_FORMAT;
}

static const char *find_route(struct purchase *p, struct err *e)
{
    if (p->card.pan[0] == '\0' || p->route != NULL)
        return NULL;
    p->route = units_route(p->posp->units, p->card.pan);
    if (p->route != NULL)
        return NULL;
    (void)err_set(e, ERR_NOT_FOUND, "no route for this card number");
    return F39_NO_ROUTE;
}

/* A terminal signs in again at 99: the way out wherever new working keys help. A PIN block
 * that keeps its format goes to the unit undecoded: one that is wrong is the unit's to refuse (55, or 99). */
static const struct {
    enum err_code error;
    const char *code;
} hsm_codes[] = {
    {ERR_CHECK, F39_PIN_FORMAT},   /* a blob's tag, or a PIN block whose format has to be changed */
    {ERR_INPUT, F39_FORMAT},       /* the message: fields 2, 14 and 35 disagree once 35 is deciphered */
    {ERR_DENIED, F39_PIN_FORMAT},  /* a blob of before that is not served any more, an 8-byte PIK */
    {ERR_NOT_FOUND, F39_SECURITY}, /* a zone key's version */
    {ERR_UNSUPPORTED, F39_SECURITY},
};

static const char *code_of_hsm(enum err_code error, const struct err *e)
{
    if (error == ERR_LIMIT &&
        e->retry_ms > 0) /* PIN operations of this terminal or account, not POSP's own quota */
        return F39_PIN_TRIES;
    for (size_t i = 0; i < sizeof hsm_codes / sizeof hsm_codes[0]; i++)
        if (hsm_codes[i].error == error)
            return hsm_codes[i].code;
    return F39_FAULT;
}

/* All keys are of one set. The PIN block stays where it is while there is no route. */
static struct hsm_transaction hsm_request(const struct purchase *p, const struct store_key_set *set)
{
    return (struct hsm_transaction){
        .message = p->request->bytes,
        .len = p->request->len,
        .dialect = p->posp->dialect,
        .rules = p->request->rules,
        .keys = set,
        .route = p->card.pin_len > 0 ? p->route : NULL,
        .track = p->card.cipher_len > 0,
    };
}

/* Patent S408-S409. The newest set first, then the one before: the answer to the last sign-in may be lost. */
static const char *prove(struct purchase *p, struct err *e)
{
    for (size_t i = 0; i < p->keys.count; i++) {
        const struct store_key_set *set = &p->keys.sets[i];
        const struct hsm_transaction t = hsm_request(p, set);
        const enum err_code code = hsm_process(p->posp->hsm, &t, &p->outcome, e);
        if (code != ERR_OK)
            return code_of_hsm(code, e);
        if (!p->outcome.mac_matches)
            continue;
        p->proven = set;
        if (!set->used &&
            store_keys_used(p->posp->store, p->request->device.terminal_id, set->generation, e) != ERR_OK)
            return F39_FAULT;
        if (p->outcome.reseal_advised)
            reseal_advise(p->posp->reseal, p->request->device.terminal_id, set->generation);
        return NULL;
    }
    (void)err_set(e, ERR_CHECK, "field 64: the MAC does not match");
    return F39_MAC;
}

static const char *complete_card(struct purchase *p, struct err *e)
{
    if (!p->card.track_enciphered)
        return NULL;
    const enum err_code code =
        iso_card_complete(&p->card, p->request->rules->line, p->outcome.track, p->outcome.track_len, e);
    secret_wipe(p->outcome.track, sizeof p->outcome.track);
    return code == ERR_OK ? NULL : F39_FORMAT;
}

/* When the card number came out of the track, there was no route to translate the PIN block for. The whole
 * message goes once more: the service takes a PIN out of a message that it has proven in the same call only.
 */
static const char *translate_late(struct purchase *p, struct err *e)
{
    if (p->pan_was_clear || p->card.pin_len == 0)
        return NULL;
    const struct hsm_transaction t = hsm_request(p, p->proven);
    const enum err_code code = hsm_process(p->posp->hsm, &t, &p->outcome, e);
    secret_wipe(p->outcome.track, sizeof p->outcome.track);
    if (code != ERR_OK)
        return code_of_hsm(code, e);
    if (p->outcome.mac_matches)
        return NULL;
    (void)err_set(e, ERR_CHECK, "field 64: the MAC does not match any more");
    return F39_MAC;
}

static const step_fn steps[] = {read_card, check_amount,  find_keys,  find_route,
                                prove,     complete_card, find_route, translate_late};

static enum err_code handle(struct purchase *p, struct answer *out_answer, struct err *e)
{
    struct err why = {0};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        const char *refusal = steps[i](p, &why);
        if (refusal == NULL)
            continue;
        log_failure(LOG_WARN, "purchase refused", &why, LOG_STR("terminal", p->request->device.terminal_id),
                    LOG_STR("stan", iso_text(p->request->message, 11)), LOG_STR("code", refusal));
        return purchase_decline(p, refusal, NULL, out_answer, e);
    }
    return forward_purchase(p, out_answer, e);
}

enum err_code purchase_handle(struct posp *posp, const struct request *request, struct answer *out_answer,
                              struct err *e)
{
    struct purchase p = {.posp = posp, .request = request};
    const enum err_code code = handle(&p, out_answer, e);
    iso_card_drop(&p.card);
    secret_wipe(&p.outcome, sizeof p.outcome);
    return code;
}
