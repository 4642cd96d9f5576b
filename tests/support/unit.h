/* unit: what every cmocka test includes, in the order that cmocka needs, and the seed of property
 * tests. */
#ifndef PROVISOR_UNIT_H
#define PROVISOR_UNIT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/* The seed of a property test: PROVISOR_SEED, else the time; printed, so that a failure repeats. */
static inline unsigned unit_seed(void)
{
    const char *given = getenv("PROVISOR_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("PROVISOR_SEED=%u\n", seed);
    return seed;
}

/* 0 .. below - 1 */
static inline unsigned unit_chance(unsigned *state, unsigned below)
{
    *state = *state * 1664525u + 1013904223u;
    return (unsigned)(((uint64_t)(*state >> 8) * below) >> 24);
}

#endif
