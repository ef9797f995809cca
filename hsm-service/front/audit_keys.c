#include "hsm-service/front/audit_keys.h"

#include "base/clock.h"
#include "base/hex.h"
#include "hsm-service/ipc.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KCV_BYTES 3

uint16_t audit_keys_method(void)
{
    const ProtobufCServiceDescriptor *const control = &posward__hsm__v1__control__descriptor;
    unsigned index = 0;
    while (index < control->n_methods && strcmp(control->methods[index].name, "ListKeys") != 0)
        index++;
    return IPC_METHOD(IPC_CONTROL, index);
}

static void fill(const Posward__Hsm__V1__Key *key, struct audit_key_seen *out_seen)
{
    char label[sizeof out_seen->label];
    const int len = snprintf(label, sizeof label, "%s%s%s/%s/%u", key->role, key->zone[0] != '\0' ? "/" : "",
                             key->zone, key->suite, key->version);
    audit_text(label, len < (int)sizeof label ? (size_t)len : sizeof label - 1, out_seen->label,
               sizeof out_seen->label);
    snprintf(out_seen->kcv, sizeof out_seen->kcv, "-");
    if (key->kcv.len == KCV_BYTES)
        hex_encode(key->kcv.data, KCV_BYTES, out_seen->kcv);
}

static const struct audit_key_seen *find(const struct audit_key_seen *items, size_t count, const char *label)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(items[i].label, label) == 0)
            return &items[i];
    return NULL;
}

static void post(struct audit_writer *w, const char *what, const struct audit_key_seen *key)
{
    struct audit_record r = {.kind = AUDIT_KEY, .time_ms = clock_wall_ms(), .who = "service", .result = "OK"};
    snprintf(r.what, sizeof r.what, "%s", what);
    snprintf(r.key, sizeof r.key, "%s", key->label);
    snprintf(r.note, sizeof r.note, "kcv=%s", key->kcv);
    audit_writer_post(w, &r, NULL, NULL);
}

static void compare(const struct audit_keys *keys, struct audit_writer *w, const struct audit_key_seen *now,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct audit_key_seen *const before = find(keys->items, keys->count, now[i].label);
        if (before == NULL)
            post(w, keys->known ? "key is new" : "key is there", &now[i]);
        else if (strcmp(before->kcv, now[i].kcv) != 0)
            post(w, "key changed", &now[i]);
    }
    for (size_t i = 0; i < keys->count; i++)
        if (find(now, count, keys->items[i].label) == NULL)
            post(w, "key is gone", &keys->items[i]);
}

void audit_keys_take(struct audit_keys *keys, struct audit_writer *w, const uint8_t *answer, size_t len)
{
    Posward__Hsm__V1__ListKeysResponse *const list =
        posward__hsm__v1__list_keys_response__unpack(NULL, len, answer);
    if (list == NULL)
        return;
    struct audit_key_seen *const now = calloc(list->n_keys + 1, sizeof *now);
    if (now != NULL) {
        for (size_t i = 0; i < list->n_keys; i++)
            fill(list->keys[i], &now[i]);
        compare(keys, w, now, list->n_keys);
        free(keys->items);
        *keys = (struct audit_keys){.items = now, .count = list->n_keys, .known = true};
    }
    posward__hsm__v1__list_keys_response__free_unpacked(list, NULL);
}

void audit_keys_drop(struct audit_keys *keys)
{
    free(keys->items);
    *keys = (struct audit_keys){0};
}
