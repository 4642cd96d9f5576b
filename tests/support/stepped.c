/* stepped: the wall clock of a process is ten days ahead while a file exists (LD_PRELOAD).
 * PROVISOR_STEPPED names the file. */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    static __typeof__(&clock_gettime) real;
    if (!real)
        real = (__typeof__(&clock_gettime))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("PROVISOR_STEPPED");
    int code = real(clock, ret_time);
    if (code == 0 && clock == CLOCK_REALTIME && path && access(path, F_OK) == 0)
        ret_time->tv_sec += 10 * 24 * 3600;
    return code;
}
