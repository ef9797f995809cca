#include "hsm-service/limits/window.h"

void window_move(struct window *w, int64_t length_ms, int64_t now_ms)
{
    const uint32_t number = (uint32_t)(now_ms / length_ms);
    if (number == w->number)
        return;
    w->before = number == w->number + 1 ? w->now : 0;
    w->now = 0;
    w->number = number;
}

/* How many milliseconds into a window the `before` of the one ahead of it has faded to `room`. */
static int64_t faded_at(unsigned before, unsigned room, int64_t length_ms)
{
    if (before <= room)
        return 0;
    return (length_ms * (int64_t)(before - room) + before - 1) / before; /* rounded up */
}

int64_t window_wait(const struct window *w, int64_t length_ms, unsigned limit, int64_t now_ms)
{
    const int64_t into_ms = now_ms % length_ms;
    if (limit == 0)
        return 0;
    if (w->now < limit) {
        const int64_t at_ms = faded_at(w->before, limit - 1 - w->now, length_ms);
        return at_ms > into_ms ? at_ms - into_ms : 0;
    }
    return length_ms - into_ms + faded_at(w->now, limit - 1, length_ms);
}

void window_add(struct window *w)
{
    if (w->now < UINT16_MAX)
        w->now++;
}

bool window_runs(const struct window *w)
{
    return w->now > 0 || w->before > 0;
}
