#include "posv/store.h"

#include "base/clock.h"
#include "posv/store_backend.h"

#include <string.h>

/* A card that is in another terminal stays there: moving it silently would leave that terminal without keys.
 */
static enum err_code check_card_is_free(struct store *s, const struct device *next, struct err *e)
{
    char card_key[PSAM_DIGITS_MAX + 1];
    device_card_key(next->psam_number, card_key);
    struct device holder;
    bool found = false;
    TRY(s->backend->find_card(s, card_key, &holder, &found, e));
    if (found && strcmp(holder.terminal_id, next->terminal_id) != 0)
        return err_set(e, ERR_EXISTS,
                       "card %s is in terminal %s (%s): retire that terminal or replace its card first",
                       next->psam_number, holder.terminal_id, device_state_name(holder.state));
    return ERR_OK;
}

static enum err_code write_stays(struct store *s, enum device_action action, const struct device *next,
                                 struct err *e)
{
    if (action == DEVICE_REPLACE_CARD || action == DEVICE_RETIRE)
        TRY(s->backend->stay_end(s, next, e));
    if (action == DEVICE_REPLACE_CARD || action == DEVICE_REGISTER)
        TRY(s->backend->stay_begin(s, next, e));
    return ERR_OK;
}

static enum err_code change_in_transaction(struct store *s, const struct device_request *request,
                                           struct device *out_device, struct err *e)
{
    struct device now, next;
    bool found = false;
    TRY(s->backend->find_terminal(s, request->terminal_id, &now, &found, e));
    TRY(device_next(found ? &now : NULL, request, &next, e));
    if (next.psam_number[0] != '\0')
        TRY(check_card_is_free(s, &next, e));
    TRY(s->backend->next_revision(s, &next.revision, e));
    next.updated_ms = clock_wall_ms();
    if (!found)
        next.created_ms = next.updated_ms;
    TRY(s->backend->put(s, &next, e));
    TRY(write_stays(s, request->action, &next, e));
    TRY(s->backend->commit(s, e));
    *out_device = next;
    return ERR_OK;
}

enum err_code store_change(struct store *s, const struct device_request *request, struct device *out_device,
                           struct err *e)
{
    pthread_mutex_lock(&s->writing);
    enum err_code code = s->backend->begin(s, e);
    if (code == ERR_OK) {
        code = change_in_transaction(s, request, out_device, e);
        if (code != ERR_OK)
            s->backend->rollback(s);
    }
    pthread_mutex_unlock(&s->writing);
    return code;
}

enum err_code store_get(struct store *s, const char *terminal_id, struct device *out_device, struct err *e)
{
    bool found = false;
    TRY(s->backend->get(s, terminal_id, NULL, out_device, &found, e));
    return found ? ERR_OK : err_set(e, ERR_NOT_FOUND, "terminal %s is not registered", terminal_id);
}

enum err_code store_get_by_card(struct store *s, const char *psam_number, struct device *out_device,
                                struct err *e)
{
    char card_key[PSAM_DIGITS_MAX + 1];
    device_card_key(psam_number, card_key);
    bool found = false;
    TRY(s->backend->get(s, NULL, card_key, out_device, &found, e));
    return found ? ERR_OK : err_set(e, ERR_NOT_FOUND, "card %s is in no terminal", psam_number);
}

enum err_code store_list(struct store *s, const struct store_filter *filter, const char *after,
                         size_t capacity, struct device *out_devices, size_t *out_count, struct err *e)
{
    return s->backend->list(s, filter, after, capacity, out_devices, out_count, e);
}

enum err_code store_changes(struct store *s, int64_t revision, size_t capacity, struct device *out_devices,
                            size_t *out_count, struct err *e)
{
    return s->backend->changes(s, revision, capacity, out_devices, out_count, e);
}

enum err_code store_totals(struct store *s, struct store_totals *out_totals, struct err *e)
{
    return s->backend->totals(s, out_totals, e);
}

enum err_code store_revision(struct store *s, int64_t *out_revision, struct err *e)
{
    return s->backend->revision(s, out_revision, e);
}

void store_free(struct store *s)
{
    if (s != NULL)
        s->backend->free(s);
}
