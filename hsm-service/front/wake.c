#include "hsm-service/front/state.h"

#include <unistd.h>

void front_wake(struct front *f)
{
    const uint64_t one = 1;
    (void)!write(f->wake_fd, &one, sizeof one);
}
