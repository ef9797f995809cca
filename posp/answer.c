#include "posp/answer.h"

#include "base/clock.h"
#include "posp/reference.h"

#include <string.h>

#define NUMBERS_BLOCK 256

enum err_code answer_mti(const char *mti, char out_mti[5], struct err *e)
{
    if (!iso_is_request(mti))
        return err_set(e, ERR_INPUT, "message type %.4s is not that of a request", mti);
    memcpy(out_mti, mti, 5);
    out_mti[2]++;
    if (out_mti[3] == '1' || out_mti[3] == '5') /* a repeat is answered as the first */
        out_mti[3]--;
    return ERR_OK;
}

static enum err_code fresh_reference(struct posp *posp, int64_t now_ms, char out_text[REFERENCE_BYTES],
                                     struct err *e)
{
    struct numbers *numbers = &posp->numbers;
    enum err_code code = ERR_OK;
    int64_t number = 0;
    pthread_mutex_lock(&numbers->lock);
    if (numbers->next >= numbers->end) {
        code = store_take_numbers(posp->store, NUMBERS_BLOCK, &numbers->next, e);
        numbers->end = code == ERR_OK ? numbers->next + NUMBERS_BLOCK : 0;
    }
    if (code == ERR_OK)
        number = numbers->next++;
    pthread_mutex_unlock(&numbers->lock);
    if (code == ERR_OK)
        reference_number(number, now_ms, out_text);
    return code;
}

/* Conditional ones come back when they were sent; 14, 35, 52 and 57 never do. */
static const uint8_t echoed[] = {2, 3, 4, 11, 23, 25, 41, 42, 49, 60, 0};

enum err_code answer_begin(struct posp *posp, const struct iso_message *request, const char *response_code,
                           const char *reference, struct iso_message *message, struct err *e)
{
    char mti[5], own_reference[REFERENCE_BYTES], time_text[7], date_text[5];
    const int64_t now_ms = clock_wall_ms();
    TRY(answer_mti(request->mti, mti, e));
    TRY(iso_set_mti(message, mti, e));
    for (const uint8_t *field = echoed; *field != 0; field++)
        TRY(iso_copy_field(message, request, *field, e));
    if (reference == NULL) {
        const enum err_code code = fresh_reference(posp, now_ms, own_reference, e);
        if (code == ERR_OK)
            reference = own_reference;
        else if (strcmp(response_code, F39_APPROVED) == 0)
            return code;
    }
    local_time_fields(now_ms, time_text, date_text);
    TRY(iso_set_text(message, 12, time_text, e));
    TRY(iso_set_text(message, 13, date_text, e));
    TRY(iso_set_text(message, 32, posp->config->acquirer_id, e));
    /* A refusal leaves without a number when the store, which gives them, takes no writes. */
    if (reference != NULL)
        TRY(iso_set_text(message, 37, reference, e));
    return iso_set_text(message, 39, response_code, e);
}

enum err_code answer_pack(const struct iso_message *message, struct answer *out_answer, struct err *e)
{
    size_t len = 0;
    TRY(iso_pack(message, out_answer->bytes, sizeof out_answer->bytes, &len, e));
    out_answer->len = len;
    return ERR_OK;
}

enum err_code answer_seal(struct posp *posp, const struct suite_rules *rules,
                          const struct store_key_set *keys, struct iso_message *message,
                          struct answer *out_answer, struct err *e)
{
    uint8_t input[ANSWER_BYTES], mac[HSM_MAC_BYTES];
    size_t len = 0;
    TRY(iso_mac_input(message, input, sizeof input, &len, e));
    TRY(hsm_mac(posp->hsm, rules, keys, input, len, mac, e));
    TRY(iso_set_bytes(message, 64, mac, sizeof mac, e));
    return answer_pack(message, out_answer, e);
}
