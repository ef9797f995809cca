/* Inside limits/ only: one sliding window. */
#ifndef POSWARD_HSM_SERVICE_LIMITS_WINDOW_H
#define POSWARD_HSM_SERVICE_LIMITS_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define WINDOW_MINUTE_MS 60000
#define WINDOW_HOUR_MS   3600000

struct window {
    uint32_t number; /* of the window that `now` counts for: time divided by its length */
    uint16_t now, before;
};

/* Bring it to `now_ms`. */
void window_move(struct window *w, int64_t length_ms, int64_t now_ms);
/* Milliseconds until one more fits under `limit`; 0: it fits now. After window_move. limit 0: always. */
int64_t window_wait(const struct window *w, int64_t length_ms, unsigned limit, int64_t now_ms);
void window_add(struct window *w);
/* Something of it still counts. */
bool window_runs(const struct window *w);

#endif
