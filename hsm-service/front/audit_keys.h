/* Inside front/ only: which keys the token has, as the last keeper that started found them. */
#ifndef POSWARD_HSM_SERVICE_FRONT_AUDIT_KEYS_H
#define POSWARD_HSM_SERVICE_FRONT_AUDIT_KEYS_H

#include "hsm-service/audit/writer.h"

struct audit_key_seen {
    char label[AUDIT_TEXT_BYTES / 4], kcv[8];
};
struct audit_keys {
    struct audit_key_seen *items;
    size_t count;
    bool known; /* false: none was asked yet */
};

/* The IPC method whose answer audit_keys_take reads: ListKeys. */
uint16_t audit_keys_method(void);
/* Record the keys: each at the first time, what changed afterwards. Loop thread. */
void audit_keys_take(struct audit_keys *keys, struct audit_writer *writer, const uint8_t *answer, size_t len);
void audit_keys_drop(struct audit_keys *keys);

#endif
