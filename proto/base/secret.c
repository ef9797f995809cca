#include "base/secret.h"

#include "base/hex.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Slots are carved from locked pages and kept on a free list: mlock counts pages, and one page a secret would
 * meet the default RLIMIT_MEMLOCK after a few hundred. */
union slot {
    union slot *next;
    uint8_t bytes[SECRET_CAPACITY];
};

#define PAGE_BYTES 4096

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static union slot *free_slots; /* guarded by slots_lock; holds no secret, so no context needs to own it */

static enum err_code add_page(struct err *e)
{
    uint8_t *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return err_errno(e, "no memory for secrets");
    if (mlock(page, PAGE_BYTES) != 0) {
        munmap(page, PAGE_BYTES);
        return err_set(e, ERR_LIMIT, "cannot lock memory for secrets; raise RLIMIT_MEMLOCK (ulimit -l)");
    }
    madvise(page, PAGE_BYTES, MADV_DONTDUMP);
    madvise(page, PAGE_BYTES, MADV_WIPEONFORK);
    for (size_t at = 0; at + sizeof(union slot) <= PAGE_BYTES; at += sizeof(union slot)) {
        union slot *slot = (union slot *)(void *)(page + at);
        slot->next = free_slots;
        free_slots = slot;
    }
    return ERR_OK;
}

enum err_code secret_init(struct secret *s, struct err *e)
{
    pthread_mutex_lock(&slots_lock);
    enum err_code code = ERR_OK;
    if (free_slots == NULL)
        code = add_page(e);
    if (code == ERR_OK) {
        union slot *slot = free_slots;
        free_slots = slot->next;
        slot->next = NULL;
        s->bytes = slot->bytes;
        s->len = 0;
    }
    pthread_mutex_unlock(&slots_lock);
    return code;
}

enum err_code secret_init_copy(struct secret *s, const void *bytes, size_t len, struct err *e)
{
    if (len > SECRET_CAPACITY)
        return err_set(e, ERR_INPUT, "secret of %zu bytes is longer than %d", len, SECRET_CAPACITY);
    TRY(secret_init(s, e));
    memcpy(s->bytes, bytes, len);
    s->len = len;
    return ERR_OK;
}

static enum err_code decode(const struct secret *text, struct secret *s, size_t len, struct err *e)
{
    size_t digits = 0;
    for (size_t i = 0; i < text->len; i++) {
        const char c = (char)text->bytes[i];
        if (c == ' ')
            continue;
        const int value = hex_digit(c);
        if (value < 0)
            return err_set(e, ERR_INPUT, "character %zu is no hexadecimal digit", i + 1);
        if (digits / 2 >= len)
            return err_set(e, ERR_INPUT, "it is longer than %zu hexadecimal digits", 2 * len);
        const uint8_t high = (uint8_t)(digits % 2 == 0 ? 0 : s->bytes[digits / 2] << 4);
        s->bytes[digits / 2] = (uint8_t)(high | value);
        digits++;
    }
    if (digits != 2 * len)
        return err_set(e, ERR_INPUT, "it has %zu hexadecimal digits; this key's components have %zu", digits,
                       2 * len);
    s->len = len;
    return ERR_OK;
}

enum err_code secret_init_hex(struct secret *s, const struct secret *text, size_t len, struct err *e)
{
    AUTO(secret) made = {0};
    if (len > SECRET_CAPACITY)
        return err_set(e, ERR_INTERNAL, "no key has %zu bytes", len);
    TRY(secret_init(&made, e));
    TRY(decode(text, &made, len, e));
    *s = made;
    made = (struct secret){0};
    return ERR_OK;
}

static enum err_code check_private(int fd, const char *path, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_errno(e, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_DENIED, "%s is not a regular file", path);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return err_set(e, ERR_DENIED, "%s is open to others (mode %04o); chmod 0400 it", path,
                       (unsigned)(st.st_mode & 07777));
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(e, ERR_DENIED, "%s belongs to user %u; chown it to the service's user", path,
                       (unsigned)st.st_uid);
    return ERR_OK;
}

static enum err_code read_line(struct secret *s, int fd, const char *path, struct err *e)
{
    size_t got = 0;
    while (got < SECRET_CAPACITY) {
        const ssize_t n = read(fd, s->bytes + got, SECRET_CAPACITY - got);
        if (n < 0)
            return err_errno(e, "%s", path);
        if (n == 0)
            break;
        got += (size_t)n;
    }
    const uint8_t *end = memchr(s->bytes, '\n', got);
    if (end == NULL && got == SECRET_CAPACITY)
        return err_set(e, ERR_INPUT, "first line of %s is longer than %d bytes", path, SECRET_CAPACITY - 1);
    s->len = end != NULL ? (size_t)(end - s->bytes) : got;
    if (s->len > 0 && s->bytes[s->len - 1] == '\r')
        s->len--;
    if (s->len == 0)
        return err_set(e, ERR_INPUT, "%s is empty", path);
    secret_wipe(s->bytes + s->len, SECRET_CAPACITY - s->len);
    return ERR_OK;
}

enum err_code secret_init_file(struct secret *s, const char *path, struct err *e)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    struct secret line = {0};
    enum err_code code = check_private(fd, path, e);
    if (code == ERR_OK)
        code = secret_init(&line, e);
    if (code == ERR_OK)
        code = read_line(&line, fd, path, e);
    close(fd);
    if (code != ERR_OK) {
        secret_drop(&line);
        return code;
    }
    *s = line;
    return ERR_OK;
}

void secret_drop(struct secret *s)
{
    if (s->bytes == NULL)
        return;
    secret_wipe(s->bytes, SECRET_CAPACITY);
    union slot *slot = (union slot *)(void *)s->bytes;
    pthread_mutex_lock(&slots_lock);
    slot->next = free_slots;
    free_slots = slot;
    pthread_mutex_unlock(&slots_lock);
    *s = (struct secret){0};
}

void secret_wipe(void *bytes, size_t len)
{
    explicit_bzero(bytes, len);
}

bool secret_equal(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < len; i++)
        difference |= (uint8_t)(x[i] ^ y[i]);
    return difference == 0;
}

void random_bytes(void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        const ssize_t n = getrandom(at, len, 0);
        if (n <= 0)
            continue; /* EINTR only: the flags ask for no other failure */
        at += n;
        len -= (size_t)n;
    }
}
