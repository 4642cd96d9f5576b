#include "services/deliverer/rate.h"

enum { MILLI = 1000, PER_SECOND_MAX = 1000000000 };

static int64_t full(const rate_t *rate)
{
    return (rate->per_second > 1 ? rate->per_second : 1) * MILLI;
}

void rate_init(rate_t *rate, int64_t per_second)
{
    *rate = (rate_t){0};
    rate_set(rate, per_second);
}

void rate_set(rate_t *rate, int64_t per_second)
{
    bool was_limited = rate->per_second > 0;
    if (per_second > PER_SECOND_MAX)
        per_second = PER_SECOND_MAX;
    rate->per_second = per_second > 0 ? per_second : 0;
    if (!was_limited || rate->level_milli > full(rate))
        rate->level_milli = full(rate);
}

/* A second fills any bucket but those of one request in several seconds, which there are not. */
static int64_t level_at(const rate_t *rate, int64_t now_ms)
{
    int64_t elapsed_ms = now_ms - rate->at_ms;
    if (elapsed_ms <= 0)
        return rate->level_milli;
    if (elapsed_ms >= 1000)
        return full(rate);
    int64_t level = rate->level_milli + elapsed_ms * rate->per_second;
    return level < full(rate) ? level : full(rate);
}

bool rate_take(rate_t *rate, int64_t now_ms)
{
    if (rate->per_second == 0)
        return true;
    rate->level_milli = level_at(rate, now_ms);
    if (now_ms > rate->at_ms)
        rate->at_ms = now_ms;
    if (rate->level_milli < MILLI)
        return false;
    rate->level_milli -= MILLI;
    return true;
}

void rate_give_back(rate_t *rate)
{
    rate->level_milli += MILLI;
    if (rate->level_milli > full(rate))
        rate->level_milli = full(rate);
}

int64_t rate_room(const rate_t *rate, int64_t now_ms)
{
    return rate->per_second == 0 ? INT64_MAX : level_at(rate, now_ms) / MILLI;
}

int64_t rate_due_ms(const rate_t *rate)
{
    if (rate->per_second == 0 || rate->level_milli >= MILLI)
        return 0;
    int64_t missing = MILLI - rate->level_milli;
    return rate->at_ms + (missing + rate->per_second - 1) / rate->per_second;
}
