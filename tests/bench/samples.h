/* samples: durations and their quantiles, for the benchmark's programs. Bounded: what comes after
 * the array is full is counted only. */
#ifndef PROVISOR_BENCH_SAMPLES_H
#define PROVISOR_BENCH_SAMPLES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SAMPLES_MAX = 4 * 1000 * 1000 };

typedef struct {
    uint32_t *us;
    size_t n;
} samples_t;

static inline int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void samples_add(samples_t *samples, int64_t ns)
{
    if (!samples->us)
        samples->us = malloc(SAMPLES_MAX * sizeof *samples->us);
    if (samples->us && samples->n < SAMPLES_MAX)
        samples->us[samples->n++] = ns < 0 ? 0 : (uint32_t)(ns / 1000);
}

static inline int samples_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Writes "p50_us":n,"p99_us":n,"p999_us":n,"max_us":n; sorts the samples. */
static inline int samples_print(samples_t *samples, char *ret_text, size_t size)
{
    static const double quantiles[] = {0.5, 0.99, 0.999, 1};
    uint32_t at[4] = {0};
    if (samples->n)
        qsort(samples->us, samples->n, sizeof *samples->us, samples_compare);
    for (int i = 0; i < 4 && samples->n; i++)
        at[i] = samples->us[(size_t)(quantiles[i] * (double)(samples->n - 1))];
    return snprintf(ret_text, size, "\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u,\"max_us\":%u",
                    at[0], at[1], at[2], at[3]);
}

#endif
