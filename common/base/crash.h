/* crash: named points at which a test may kill the process, compiled in always.
 *
 * PROVISOR_CRASH=emitter.committed:3 kills the process (SIGKILL, as a power cut would) the third
 * time that it passes CRASH_POINT ("emitter.committed"). Unset, a point costs one test of a flag.
 */
#ifndef PROVISOR_CRASH_H
#define PROVISOR_CRASH_H

#include <stdbool.h>

/* Reads PROVISOR_CRASH; called once by service_main before any thread starts. */
void crash_init(void);
void crash_reached(const char *point);

extern bool crash_armed;
#define CRASH_POINT(point)                                                                         \
    do {                                                                                           \
        if (__builtin_expect(crash_armed, 0))                                                      \
            crash_reached(point);                                                                  \
    } while (0)

#endif
