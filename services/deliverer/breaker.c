#include "services/deliverer/breaker.h"

enum { INTERVAL_GROWTH_MAX = 32 };

void breaker_init(breaker_t *breaker)
{
    *breaker = (breaker_t){.state = BREAKER_CLOSED};
}

bool breaker_take(breaker_t *breaker, int64_t now_ms)
{
    if (breaker->state == BREAKER_CLOSED)
        return true;
    if (breaker->state == BREAKER_PROBING || now_ms < breaker->probe_at_ms)
        return false;
    breaker->state = BREAKER_PROBING;
    return true;
}

int64_t breaker_due_ms(const breaker_t *breaker)
{
    switch (breaker->state) {
    case BREAKER_CLOSED:
        return 0;
    case BREAKER_OPEN:
        return breaker->probe_at_ms;
    case BREAKER_PROBING:
        break;
    }
    return INT64_MAX;
}

bool breaker_success(breaker_t *breaker)
{
    bool closed_it = breaker->state != BREAKER_CLOSED;
    breaker_init(breaker);
    return closed_it;
}

static void open_for(breaker_t *breaker, int64_t interval_ms, int64_t now_ms)
{
    breaker->state = BREAKER_OPEN;
    breaker->interval_ms = interval_ms;
    breaker->probe_at_ms = now_ms + interval_ms;
}

bool breaker_failure(breaker_t *breaker, const breaker_settings_t *settings, int64_t now_ms)
{
    if (breaker->failures < INT32_MAX)
        breaker->failures++;
    if (breaker->state == BREAKER_PROBING) {
        int64_t limit_ms = settings->probe_ms * INTERVAL_GROWTH_MAX;
        int64_t next_ms = breaker->interval_ms * 2;
        open_for(breaker, next_ms < limit_ms ? next_ms : limit_ms, now_ms);
        return false;
    }
    if (breaker->state == BREAKER_OPEN || breaker->failures < settings->failures_max)
        return false;
    open_for(breaker, settings->probe_ms, now_ms);
    return true;
}

void breaker_give_back(breaker_t *breaker)
{
    if (breaker->state == BREAKER_PROBING)
        breaker->state = BREAKER_OPEN;
}

void breaker_hurry(breaker_t *breaker, int64_t now_ms)
{
    if (breaker->state == BREAKER_OPEN && breaker->probe_at_ms > now_ms)
        breaker->probe_at_ms = now_ms;
}

void breaker_postpone(breaker_t *breaker, int64_t now_ms)
{
    if (breaker->state == BREAKER_PROBING)
        open_for(breaker, breaker->interval_ms, now_ms);
}

const char *breaker_str(const breaker_t *breaker)
{
    static const char *const names[] = {"closed", "open", "probing"};
    return names[breaker->state];
}
