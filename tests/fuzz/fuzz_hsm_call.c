/* What a client can make a keeper do: two bytes of method, then the packed request, on a token that says yes
 * to everything. The answer fits a packet, a failure has a class and a note, and no session stays borrowed.
 */
#include "hsm-service/ipc.h"
#include "hsm-service/keeper/methods.h"
#include "tests/support/null_token.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tok *tok;
static struct arena arena;

static void close_token(void)
{
    arena_drop(&arena);
    null_token_close(tok);
}

static void open_token(void)
{
    struct err e = {0};
    tok = null_token_open(1);
    if (arena_init(&arena, &e) != ERR_OK || atexit(close_token) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (tok == NULL)
        open_token();
    if (size < 2 || size > IPC_REQUEST_BYTES)
        return 0;
    static const struct keeper_policy policy = {.tdes_mak_bytes_min = 8};
    static uint8_t pin_uses[IPC_PIN_USES_MAX * IPC_PIN_USE_BYTES];
    struct keeper_call call = {.tok = tok,
                               .arena = &arena,
                               .policy = &policy,
                               .pin_uses = pin_uses,
                               .deadline_ms = INT64_MAX};
    struct err e = {0};
    ProtobufCBinaryData answer = {0};
    const enum err_code code =
        methods_serve(&call, (uint16_t)(data[0] << 8 | data[1]), data + 2, size - 2, &answer, &e);
    if (code == ERR_OK ? answer.len > IPC_BODY_BYTES : e.code != code || strlen(e.note) == 0)
        abort();
    if (call.session != NULL || call.token_away || code == ERR_INTERNAL)
        abort();
    arena_reset(&arena);
    return 0;
}
