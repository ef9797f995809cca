#include "run/roles_inside.h"

#include <string.h>

void roles_view_drop(struct roles_view *view)
{
    roles_holders_free(view->held);
    *view = (struct roles_view){0};
}

bool roles_view_has_zone(const struct roles_view *view, const char *zone, size_t zone_len)
{
    if (view->holder == NULL || zone_len == 0 || zone_len > ROLES_ZONE_MAX ||
        memchr(zone, '\0', zone_len) != NULL)
        return false;
    char name[ROLES_ZONE_MAX + 1] = "";
    memcpy(name, zone, zone_len);
    return view->holder->all_zones || roles_names_have(&view->holder->zones, name);
}

bool roles_view_has_pin_pair(const struct roles_view *view, const char *from, size_t from_len, const char *to,
                             size_t to_len)
{
    char pair[2 * ROLES_ZONE_MAX + 2] = "";
    if (view->holder == NULL || from_len > ROLES_ZONE_MAX || to_len > ROLES_ZONE_MAX ||
        memchr(from, '\0', from_len) != NULL || memchr(to, '\0', to_len) != NULL)
        return false;
    memcpy(pair, from, from_len);
    pair[from_len] = '>';
    memcpy(pair + from_len + 1, to, to_len);
    return view->holder->all_pin_pairs || roles_names_have(&view->holder->pin_pairs, pair);
}
