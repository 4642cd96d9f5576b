#include "common/base/crash.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The exception to "no file-scope mutable state": a test's switch, written once before threads. */
bool crash_armed;
static char armed_point[64];
static atomic_int countdown;

void crash_init(void)
{
    const char *setting = getenv("PROVISOR_CRASH");
    if (!setting || !*setting)
        return;
    snprintf(armed_point, sizeof armed_point, "%s", setting);
    char *colon = strrchr(armed_point, ':');
    atomic_store(&countdown, colon ? atoi(colon + 1) : 1);
    if (colon)
        *colon = 0;
    crash_armed = true;
}

void crash_reached(const char *point)
{
    if (strcmp(point, armed_point) != 0 || atomic_fetch_sub(&countdown, 1) != 1)
        return;
    fprintf(stderr, "level=warn event=crash_point point=%s\n", point);
    kill(getpid(), SIGKILL);
    pause();
}
