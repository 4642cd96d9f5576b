/* rate: a token bucket. Pure; times are monotonic ms. Burst = max (1, per_second). */
#ifndef PROVISOR_RATE_H
#define PROVISOR_RATE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t per_second;  /* 0: not limited */
    int64_t level_milli; /* thousandths of a request */
    int64_t at_ms;       /* when the level was right */
} rate_t;

/* A full bucket. */
void rate_init(rate_t *rate, int64_t per_second);
/* Another limit; what is in the bucket stays, as far as it fits. */
void rate_set(rate_t *rate, int64_t per_second);
bool rate_take(rate_t *rate, int64_t now_ms);
/* What was taken last was not used. */
void rate_give_back(rate_t *rate);
/* How many could be taken now. */
int64_t rate_room(const rate_t *rate, int64_t now_ms);
/* From when on rate_take says yes; 0: already. */
int64_t rate_due_ms(const rate_t *rate);

#endif
