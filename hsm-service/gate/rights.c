#include "hsm-service/gate/rights.h"

#define POSP ROLE_POSP

const struct roles_right rights_table[] = {
    {"card-key", RIGHT_CARD_KEY, POSP, POSP, "DiversifyCardKey"},
    {"working-keys", RIGHT_WORKING_KEYS, POSP, POSP, "GenerateWorkingKeys"},
    {"transaction", RIGHT_TRANSACTION, POSP, POSP, "ProcessTransaction"},
    {"answer-mac", RIGHT_ANSWER_MAC, POSP, POSP, "GenerateMac under a terminal's MAK, over a response"},
    {"any-mac", RIGHT_ANY_MAC, POSP, 0, "GenerateMac under a terminal's MAK, over any data"},
    {"verify-mac", RIGHT_VERIFY_MAC, POSP, 0, "VerifyMac under a terminal's MAK"},
    {"translate-pin", RIGHT_TRANSLATE_PIN, POSP, 0, "TranslatePin from a terminal's PIK to a zone"},
    {"encrypt-data", RIGHT_ENCRYPT_DATA, POSP, 0, "EncryptData under a terminal's TDK"},
    {"decrypt-data", RIGHT_DECRYPT_DATA, POSP, 0, "DecryptData under a terminal's TDK"},
    {"zone-mac", RIGHT_ZONE_MAC, POSP, 0, "GenerateMac and VerifyMac under a key of a zone"},
    {"zone-data", RIGHT_ZONE_DATA, POSP, 0, "EncryptData and DecryptData under a key of a zone"},
    {"reseal", RIGHT_RESEAL, POSP, POSP, "ResealBlobs"},
    {"report-use", RIGHT_REPORT_USE, POSP, POSP, "ReportKeyUse"},
    {0},
};

/* The rights of which one is needed, by the key that the operation works with. A PIN between zones needs
 * none: its pair is asked for. */
static const struct operation_row {
    const char *name;
    size_t keys_min, keys_max;
    unsigned blob, zone, answer; /* `answer`: instead of `blob`, over a response */
} operations[RIGHTS_OPERATIONS] = {
    [RIGHTS_DIVERSIFY_CARD_KEY] = {"DiversifyCardKey", .blob = RIGHT_CARD_KEY},
    [RIGHTS_GENERATE_WORKING_KEYS] = {"GenerateWorkingKeys", .blob = RIGHT_WORKING_KEYS},
    [RIGHTS_GENERATE_MAC] = {"GenerateMac", 1, 1, RIGHT_ANY_MAC, RIGHT_ZONE_MAC,
                             RIGHT_ANY_MAC | RIGHT_ANSWER_MAC},
    [RIGHTS_VERIFY_MAC] = {"VerifyMac", 1, 1, RIGHT_VERIFY_MAC, RIGHT_ZONE_MAC},
    [RIGHTS_TRANSLATE_PIN] = {"TranslatePin", 2, 2, RIGHT_TRANSLATE_PIN, 0},
    [RIGHTS_ENCRYPT_DATA] = {"EncryptData", 1, 1, RIGHT_ENCRYPT_DATA, RIGHT_ZONE_DATA},
    [RIGHTS_DECRYPT_DATA] = {"DecryptData", 1, 1, RIGHT_DECRYPT_DATA, RIGHT_ZONE_DATA},
    [RIGHTS_PROCESS_TRANSACTION] = {"ProcessTransaction", 0, 1, RIGHT_TRANSACTION, RIGHT_TRANSACTION},
    [RIGHTS_RESEAL_BLOBS] = {"ResealBlobs", .blob = RIGHT_RESEAL},
    [RIGHTS_REPORT_KEY_USE] = {"ReportKeyUse", .blob = RIGHT_REPORT_USE},
};

const char *rights_operation_name(enum rights_operation operation)
{
    return operations[operation].name;
}

static const char *right_name(unsigned bit)
{
    const struct roles_right *right = rights_table;
    while (right->name != NULL && (right->bit & bit) == 0)
        right++;
    return right->name;
}

static enum err_code refuse_right(const struct roles_view *view, const struct rights_use *use,
                                  unsigned needed, struct err *e)
{
    const bool zone = use->key_count > 0 && use->keys[0].zone != NULL;
    const char *const what = use->key_count == 0 ? ""
                             : zone              ? " under a key of a zone"
                             : use->response_mti ? " of an answer under a terminal's key"
                                                 : " under a terminal's key";
    const char *const name = rights_operation_name(use->operation);
    if (view->insecure)
        return err_set(e, ERR_DENIED, "%s%s needs the right %s, which insecure_role does not give; all does",
                       name, what, right_name(needed));
    return err_set(e, ERR_DENIED, "%s%s needs the right %s: add it to may of this identity in roles", name,
                   what, right_name(needed));
}

static enum err_code check_right(const struct roles_view *view, const struct rights_use *use, struct err *e)
{
    const struct operation_row *const row = &operations[use->operation];
    unsigned needed = row->blob;
    if (use->key_count > 0 && use->keys[0].zone != NULL)
        needed = row->zone;
    else if (row->answer != 0 && use->response_mti)
        needed = row->answer;
    return needed == 0 || (view->rights & needed) != 0 ? ERR_OK : refuse_right(view, use, needed, e);
}

/* A peer's bytes, in a note. */
static const char *shown(const char *zone, size_t zone_len, char out_text[ROLES_ZONE_MAX + 1])
{
    size_t len = 0;
    for (; len < zone_len && len < ROLES_ZONE_MAX; len++) {
        const char c = zone[len];
        out_text[len] = c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ? c : '?';
    }
    out_text[len] = '\0';
    return out_text;
}

static enum err_code check_zones(const struct roles_view *view, const struct rights_use *use, struct err *e)
{
    char zone[ROLES_ZONE_MAX + 1];
    for (size_t i = 0; i < use->key_count; i++)
        if (use->keys[i].zone != NULL && !roles_view_has_zone(view, use->keys[i].zone, use->keys[i].zone_len))
            return err_set(
                e, ERR_DENIED, "%s with a key of zone %s: add it to zones of this identity in roles",
                rights_operation_name(use->operation), shown(use->keys[i].zone, use->keys[i].zone_len, zone));
    return ERR_OK;
}

static enum err_code check_pair(const struct roles_view *view, const struct rights_use *use, struct err *e)
{
    if (use->operation != RIGHTS_TRANSLATE_PIN || use->keys[0].zone == NULL ||
        roles_view_has_pin_pair(view, use->keys[0].zone, use->keys[0].zone_len, use->keys[1].zone,
                                use->keys[1].zone_len))
        return ERR_OK;
    char from[ROLES_ZONE_MAX + 1], to[ROLES_ZONE_MAX + 1];
    return err_set(e, ERR_DENIED, "TranslatePin between zones needs the pair %s>%s: %s",
                   shown(use->keys[0].zone, use->keys[0].zone_len, from),
                   shown(use->keys[1].zone, use->keys[1].zone_len, to),
                   view->insecure ? "under tls.insecure, insecure_role: all has it"
                                  : "add it to pin_pairs of this identity in roles");
}

/* The key that a PIN block is put under is the last one. */
static enum err_code check_direction(const struct rights_use *use, struct err *e)
{
    const bool moves_pin =
        use->operation == RIGHTS_TRANSLATE_PIN || use->operation == RIGHTS_PROCESS_TRANSACTION;
    if (!moves_pin || use->key_count == 0 || use->keys[use->key_count - 1].zone != NULL)
        return ERR_OK;
    return err_set(e, ERR_DENIED,
                   "%s to a terminal's key is refused to everyone: a PIN moves from a terminal to a zone",
                   rights_operation_name(use->operation));
}

enum err_code rights_check(const struct roles_view *view, const struct rights_use *use, struct err *e)
{
    const struct operation_row *const row = &operations[use->operation];
    if (use->key_count < row->keys_min || use->key_count > row->keys_max)
        return err_set(e, ERR_INTERNAL, "%s was read with %zu keys", row->name, use->key_count);
    TRY(check_direction(use, e));
    TRY(check_right(view, use, e));
    TRY(check_zones(view, use, e));
    return check_pair(view, use, e);
}

bool rights_is_response_mti(const uint8_t *data, size_t len)
{
    if (len < 2)
        return false;
    const unsigned version = data[0] >> 4U, class = data[0] & 0x0FU, function = data[1] >> 4U,
                   origin = data[1] & 0x0FU;
    return version == 0 && class <= 9 && origin <= 9 && (function == 1 || function == 3 || function == 5);
}
