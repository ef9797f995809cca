/* What would break when a key goes. */
#include "hsm-service/control/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ACTION(which) POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_##which
#define STATE(which)  POSWARD__HSM__V1__KEY_STATE__KEY_STATE_##which
#define NOTE_LINES    2 /* of the list, in a refusal's note */

/* Roles on which things outside the token depend, so that only those who keep them can tell. */
static const struct {
    const char *role, *dependants;
    bool opens; /* a deactivated one still serves its dependants: they only are opened with it */
    const char *without;
} roles[] = {
    {"psam-master", "cards", false,
     "no card of its suite could be issued"}, /* a sign-in makes new keys under it */
    {"card-control", "cards", false, "no card of its suite could be issued"},
    {"storage", "blobs", true, "no terminal could sign in"},
    {"blob-tag", "blobs", true, "no terminal could sign in"},
    {"zone-pin", NULL, false, "no PIN could be translated for the zone"},
    {"zone-mac", NULL, false, "no MAC could be made for the zone"},
    {"zone-data", NULL, false, "no data could be enciphered for the zone"},
    {"zone-master", NULL, false, "no key could travel to or from the zone"},
};

struct lines {
    char *text;
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct lines *l, const char *format, ...)
{
    va_list arguments;
    char line[512];
    va_start(arguments, format);
    const int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (len < 0 || l->len + (size_t)len + 2 > CONTROL_BREAK_BYTES)
        return;
    l->len += (size_t)snprintf(l->text + l->len, CONTROL_BREAK_BYTES - l->len, "%s\n", line);
}

/* "9,998" */
static void say_count(uint64_t count, char out_text[32])
{
    char digits[24];
    const int len = snprintf(digits, sizeof digits, "%" PRIu64, count);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out_text[at++] = ',';
        out_text[at++] = digits[i];
    }
    out_text[at] = '\0';
}

static void say_age(int64_t age_ms, char out_text[32])
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};
    snprintf(out_text, 32, "just now");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (age_ms >= units[i].ms) {
            snprintf(out_text, 32, "%" PRId64 " %s ago", age_ms / units[i].ms, units[i].unit);
            return;
        }
}

static size_t role_index(const char *role)
{
    size_t i = 0;
    while (i < sizeof roles / sizeof roles[0] && strcmp(roles[i].role, role) != 0)
        i++;
    return i;
}

static void add_uses(struct lines *l, const char *label, const char *dependants,
                     const struct control_stakes *stakes)
{
    for (size_t i = 0; i < stakes->count; i++) {
        char count[32], age[32];
        say_count(stakes->uses[i].count, count);
        say_age(stakes->now_ms - stakes->uses[i].reported_ms, age);
        add(l, "%s: %s %s (%s, %s)", label, count, stakes->uses[i].what, stakes->uses[i].reporter, age);
    }
    if (!stakes->told && dependants != NULL)
        add(l, "%s: nobody has told yet how many %s depend on it", label, dependants);
}

static bool is_active(const ControlKey *key)
{
    return key->state == STATE(ACTIVE) || key->state == STATE(UNSPECIFIED);
}

/* No other active version does its work. */
static bool is_last(const struct control_view *view, const ControlKey *key)
{
    if (!is_active(key))
        return false;
    for (size_t i = 0; i < view->count; i++) {
        const ControlKey *const other = view->keys[i];
        if (other->version != key->version && is_active(other) && strcmp(other->role, key->role) == 0 &&
            strcmp(other->suite, key->suite) == 0 && strcmp(other->zone, key->zone) == 0)
            return false;
    }
    return true;
}

void control_breaks(const ControlRequest *r, const struct control_view *view,
                    const struct control_stakes *stakes, char *out_lines)
{
    struct lines l = {out_lines, 0};
    char label[CONTROL_LABEL_BYTES];
    out_lines[0] = '\0';
    if (r->action_case != ACTION(DESTROY) && r->action_case != ACTION(DEACTIVATE))
        return;
    const ControlKeyName *const name = control_request_key(r);
    const ControlKey *const key = control_key_of(view, name);
    if (key == NULL || key->state == STATE(PRE_ACTIVE))
        return;
    const size_t role = role_index(key->role);
    const bool known = role < sizeof roles / sizeof roles[0];
    control_label(name, label);
    if (r->action_case == ACTION(DESTROY) || !known || !roles[role].opens)
        add_uses(&l, label, known ? roles[role].dependants : NULL, stakes);
    if (!is_last(view, key))
        return;
    if (strcmp(key->role, "audit") == 0)
        add(&l, "%s: it signs the audit log", label);
    else
        add(&l, "%s: the last active key of its kind%s%s", label, known ? ": " : "",
            known ? roles[role].without : "");
}

enum err_code control_check_breaks(const ControlRequest *r, const char *lines, struct err *e)
{
    const bool allowed = (r->action_case == ACTION(DESTROY) && r->destroy->break_use) ||
                         (r->action_case == ACTION(DEACTIVATE) && r->deactivate->break_use);
    char text[160] = "";
    size_t len = 0, shown = 0, count = 0;
    if (lines[0] == '\0' || allowed)
        return ERR_OK;
    for (const char *at = lines; *at != '\0'; at += strcspn(at, "\n") + 1) {
        const size_t line_len = strcspn(at, "\n");
        count++;
        if (count > NOTE_LINES || len + line_len + 3 >= sizeof text)
            continue;
        len +=
            (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", len > 0 ? "; " : "", (int)line_len, at);
        shown++;
    }
    if (shown == count)
        return err_set(e, ERR_STATE, "%s. To do it all the same: break_use", text);
    return err_set(e, ERR_STATE, "%s%s%zu more (posward key show). To do it all the same: break_use", text,
                   shown > 0 ? "; and " : "", count - shown);
}
