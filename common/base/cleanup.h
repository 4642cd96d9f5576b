/* cleanup: destructors that the compiler calls, so that an early return needs no ladder.
 *
 *     AUTO(zmsg) msg = zmsg_recv (socket);      zmsg_destroy (&msg) on every way out
 *     return TAKE(msg);                          hands it to the caller instead
 *
 * Works for every module with x_destroy (x_t **) that accepts a pointer to NULL. */
#ifndef PROVISOR_CLEANUP_H
#define PROVISOR_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define AUTO(name) __attribute__((cleanup(name##_destroy))) name##_t *
#define AUTO_FREE  __attribute__((cleanup(cleanup_free)))
#define AUTO_FD    __attribute__((cleanup(cleanup_fd))) int
#define TAKE(pointer)                                                                              \
    ({                                                                                             \
        __typeof__(pointer) taken = (pointer);                                                     \
        (pointer) = NULL;                                                                          \
        taken;                                                                                     \
    })

static inline void cleanup_free(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#endif
