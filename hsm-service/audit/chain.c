#include "hsm-service/audit/chain.h"

#include "base/secret.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void audit_torn_note(size_t len, const uint8_t hash[AUDIT_HASH_BYTES], char out_note[AUDIT_TEXT_BYTES])
{
    char text[2 * AUDIT_HASH_BYTES + 1];
    audit_hex(hash, AUDIT_HASH_BYTES, text);
    snprintf(out_note, AUDIT_TEXT_BYTES, "bytes=%zu sha256=%s", len, text);
}

enum err_code audit_chain_end(const struct audit_chain *chain, struct err *e)
{
    if (!chain->fragment.open)
        return ERR_OK;
    return err_set(e, ERR_CHECK, "record %" PRIu64 " was changed: %.120s", chain->head.seq + 1,
                   chain->fragment.why.note);
}

static enum err_code open_fragment(struct audit_chain *chain, const char *line, size_t len,
                                   const struct err *why)
{
    chain->fragment = (struct audit_fragment){.open = true, .len = len, .line = chain->lines, .why = *why};
    audit_sha256(line, len, chain->fragment.hash);
    return ERR_OK;
}

static enum err_code close_fragment(struct audit_chain *chain, const struct audit_record *r, struct err *e)
{
    char note[AUDIT_TEXT_BYTES] = "";
    if (chain->fragment.open)
        audit_torn_note(chain->fragment.len, chain->fragment.hash, note);
    if (chain->fragment.open != (r->kind == AUDIT_TORN) ||
        strcmp(note, r->kind == AUDIT_TORN ? r->note : "") != 0) {
        if (chain->fragment.open)
            return audit_chain_end(chain, e);
        return err_set(e, ERR_CHECK, "the cut line that record %" PRIu64 " closes was removed", r->seq);
    }
    chain->torn += chain->fragment.open;
    chain->fragment.open = false;
    return ERR_OK;
}

static enum err_code check_place(struct audit_chain *chain, const struct audit_record *r, struct err *e)
{
    if (!chain->started)
        return ERR_OK;
    chain->out_of_order = r->seq != chain->wanted;
    if (r->seq > chain->wanted)
        return err_set(e, ERR_CHECK, "record %" PRIu64 " is missing: record %" PRIu64 " stands in its place",
                       chain->wanted, r->seq);
    if (r->seq < chain->wanted)
        return err_set(e, ERR_CHECK, "record %" PRIu64 " stands where record %" PRIu64 " should", r->seq,
                       chain->wanted);
    if (!secret_equal(r->prev, chain->head.hash, sizeof r->prev))
        return err_set(e, ERR_CHECK,
                       "record %" PRIu64 " does not follow record %" PRIu64 ": one was replaced", r->seq,
                       chain->head.seq);
    return ERR_OK;
}

enum err_code audit_chain_take(struct audit_chain *chain, const char *line, size_t len,
                               struct audit_record *out_record, bool *out_is_record, struct err *e)
{
    struct audit_record r;
    struct err why = {0};
    chain->lines++;
    chain->wanted = chain->head.seq + 1;
    chain->out_of_order = false;
    *out_is_record = false;
    if (audit_record_parse(line, len, &r, &why) != ERR_OK) {
        TRY(audit_chain_end(chain, e));
        return open_fragment(chain, line, len, &why);
    }
    if (chain->fragment.open && (r.kind != AUDIT_TORN || r.seq != chain->wanted))
        return audit_chain_end(chain, e);
    TRY(check_place(chain, &r, e));
    TRY(close_fragment(chain, &r, e));
    chain->head.seq = r.seq;
    memcpy(chain->head.hash, r.hash, sizeof r.hash);
    chain->started = true;
    *out_record = r;
    *out_is_record = true;
    return ERR_OK;
}
