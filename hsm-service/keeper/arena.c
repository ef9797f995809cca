#include "hsm-service/keeper/arena.h"

#include "base/secret.h"

#include <string.h>
#include <sys/mman.h>

#define ALIGN 16UL

static void *allocate(void *context, size_t len)
{
    return arena_take(context, len);
}

static void release(void *context, void *bytes)
{
    (void)context;
    (void)bytes; /* all at once: arena_reset */
}

enum err_code arena_init(struct arena *a, struct err *e)
{
    void *const bytes =
        mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED)
        return err_errno(e, "no memory for requests");
    (void)madvise(bytes, ARENA_BYTES, MADV_DONTDUMP);
    *a = (struct arena){.bytes = bytes,
                        .allocator = {.alloc = allocate, .free = release, .allocator_data = a}};
    return ERR_OK;
}

void arena_drop(struct arena *a)
{
    if (a->bytes == NULL)
        return;
    arena_reset(a);
    (void)munmap(a->bytes, ARENA_BYTES);
    *a = (struct arena){0};
}

void *arena_take(struct arena *a, size_t len)
{
    if (len > ARENA_BYTES - a->used) {
        a->exhausted = true;
        return NULL;
    }
    void *const taken = a->bytes + a->used; /* zero: fresh from the kernel, or wiped by the reset */
    const size_t rounded = (len + ALIGN - 1) & ~(ALIGN - 1);
    a->used = rounded > ARENA_BYTES - a->used ? ARENA_BYTES : a->used + rounded;
    return taken;
}

enum err_code arena_copy(struct arena *a, const void *bytes, size_t len, ProtobufCBinaryData *out_copy,
                         struct err *e)
{
    uint8_t *const copy = arena_take(a, len);
    if (copy == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    if (len > 0)
        memcpy(copy, bytes, len);
    *out_copy = (ProtobufCBinaryData){.len = len, .data = copy};
    return ERR_OK;
}

enum err_code arena_text(struct arena *a, const char *text, char **out_copy, struct err *e)
{
    ProtobufCBinaryData copy;
    TRY(arena_copy(a, text, strlen(text) + 1, &copy, e));
    *out_copy = (char *)copy.data;
    return ERR_OK;
}

void arena_reset(struct arena *a)
{
    secret_wipe(a->bytes, a->used); /* PAN, tracks, enciphered PIN blocks: nothing of a request stays */
    a->used = 0;
    a->exhausted = false;
}
