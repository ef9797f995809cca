/* What the front reads of calls and answers where they lie: a byte of method, two of the request's length,
 * the request, the answer. Every text of a record is one that a line of the audit log may hold. */
#include "hsm-service/front/facts.h"
#include "hsm-service/front/operations.h"
#include "hsm-service/ipc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t capacity)
{
    const size_t len = strnlen(text, capacity);
    if (len == capacity)
        abort();
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7E || text[i] == '"' || text[i] == '\\')
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[CKR_NAME_BYTES];
    if (size < 3)
        return 0;
    const size_t most = size - 3, asked = (size_t)(data[1] << 8 | data[2]), len = asked < most ? asked : most;
    const uint16_t method = IPC_METHOD(IPC_DATA_PLANE, data[0]);
    const struct wire_bytes request = {data + 3, len}, response = {data + 3 + len, most - len};
    struct facts_walk walk = facts_walk(method, request, response);
    struct facts_operation o;
    bool keys = false;
    while (facts_next(&walk, &o)) {
        const struct audit_record r = facts_record(&o);
        if (o.index >= FACTS_OPERATIONS || r.kind != AUDIT_USE)
            abort();
        check_text(r.what, sizeof r.what);
        check_text(r.key, sizeof r.key);
        check_text(r.grade, sizeof r.grade);
        check_text(r.note, sizeof r.note);
        keys = keys || (o.classes & FACTS_KEYS) != 0;
    }
    if (keys != facts_makes_keys(method, request))
        abort();
    if (front_operations_ckr((const char *)data, size, name) != NULL)
        check_text(name, sizeof name);
    return 0;
}
