/* Lines of an audit log: any line is refused, or is exactly what the formatter makes of its record. */
#include "hsm-service/audit/chain.h"
#include "hsm-service/audit/signature.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_line(struct audit_chain *chain, const char *line, size_t len)
{
    struct audit_record r;
    struct audit_head at;
    uint8_t signature[AUDIT_SIGNATURE_BYTES];
    char again[AUDIT_LINE_BYTES];
    size_t again_len = 0;
    bool is_record = false;
    struct err e = {0};
    (void)!audit_chain_take(chain, line, len, &r, &is_record, &e);
    if (audit_record_parse(line, len, &r, &e) != ERR_OK)
        return;
    struct audit_head before = {.seq = r.seq - 1};
    memcpy(before.hash, r.prev, sizeof before.hash);
    audit_record_format(&r, &before, again, &again_len);
    if (again_len != len + 1 || memcmp(again, line, len) != 0)
        __builtin_trap();
    (void)!audit_checkpoint_read(r.note, &at, signature, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct audit_chain chain = {0};
    struct audit_head at;
    uint8_t signature[AUDIT_SIGNATURE_BYTES];
    struct err e = {0};
    char *const text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    (void)!audit_checkpoint_read(text, &at, signature, &e);
    for (size_t from = 0, i = 0; i <= size; i++)
        if (i == size || text[i] == '\n') {
            char *const line = malloc(i - from + 1); /* exact, for the address sanitizer */
            memcpy(line, text + from, i - from);
            one_line(&chain, line, i - from);
            free(line);
            from = i + 1;
        }
    (void)!audit_chain_end(&chain, &e);
    free(text);
    return 0;
}
