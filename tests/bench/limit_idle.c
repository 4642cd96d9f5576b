/* limit_idle: what a process costs that only waits and wakes up, for the benchmark. Usage:
 * limit_idle RATE SECONDS; prints the CPU of one wake-up in us. */
#include <poll.h>

#include "tests/bench/samples.h"

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
    int rate = argc < 3 ? 0 : atoi(argv[1]), n = argc < 3 ? 0 : (int)(rate * atof(argv[2]));
    if (rate < 1 || n < 1)
        return 1;
    int64_t begun_ns = cpu_ns();
    for (int i = 0; i < n; i++)
        poll(NULL, 0, 1000 / rate);
    printf("%.1f\n", (double)(cpu_ns() - begun_ns) / n / 1000);
    return 0;
}
