#include "services/deliverer/retry.h"
#include "common/base/clk.h"

/* Of one step; longer than anybody waits, short enough that sums never overflow. */
#define STEP_MAX_MS (366 * INT64_C(86400000))
/* Attempts take time of their own and wait for their turn; without this a short schedule would
 * lose attempts to its own default age. */
#define GRACE_PER_ATTEMPT_MS 60000

static int64_t longest_step(const retry_schedule_t *schedule)
{
    int64_t longest = 0;
    for (int i = 0; i < schedule->n_delays; i++)
        if (schedule->delays_ms[i] > longest)
            longest = schedule->delays_ms[i];
    return longest;
}

static int64_t default_age(const retry_schedule_t *schedule)
{
    int64_t sum = 0;
    for (int i = 0; i < schedule->n_delays; i++)
        sum += schedule->delays_ms[i];
    return sum + sum / 10 + (schedule->n_delays + 1) * (int64_t)GRACE_PER_ATTEMPT_MS;
}

static slice_t trimmed(slice_t text)
{
    while (text.size && text.data[0] == ' ')
        text.data++, text.size--;
    while (text.size && text.data[text.size - 1] == ' ')
        text.size--;
    return text;
}

/* Cuts the text up to the next comma off *rest; rest->data is NULL after the last one. */
static slice_t next_item(slice_t *rest)
{
    const char *comma = memchr(rest->data, ',', rest->size);
    slice_t item = *rest;
    if (!comma) {
        *rest = (slice_t){0};
        return trimmed(item);
    }
    item.size = (size_t)(comma - rest->data);
    *rest = (slice_t){comma + 1, rest->size - item.size - 1};
    return trimmed(item);
}

result_t retry_parse(slice_t text, int64_t max_age_ms, retry_schedule_t *ret_schedule,
                     fault_t *fault)
{
    retry_schedule_t schedule = {.max_age_ms = max_age_ms};
    slice_t rest = trimmed(text);
    if (rest.size == 0)
        rest.data = NULL;
    while (rest.data) {
        slice_t item = next_item(&rest);
        int64_t ms = 0;
        if (schedule.n_delays == RETRY_DELAYS_MAX)
            return fault_set(fault, RESULT_INVALID,
                             "retry: more than %d delays; write fewer, and longer ones",
                             RETRY_DELAYS_MAX);
        if (clk_parse_duration(item, &ms) != RESULT_OK || ms > STEP_MAX_MS)
            return fault_set(fault, RESULT_INVALID,
                             "retry: delay %d, \"%.*s\", is not a duration of at most 366 days; "
                             "write for example 5s,5m,30m",
                             schedule.n_delays + 1, item.size > 40 ? 40 : (int)item.size,
                             item.data);
        schedule.delays_ms[schedule.n_delays++] = ms;
    }
    if (max_age_ms < 0)
        schedule.max_age_ms = default_age(&schedule);
    *ret_schedule = schedule;
    return RESULT_OK;
}

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

retry_verdict_t retry_next(const retry_schedule_t *schedule, int attempt, int64_t age_ms,
                           int64_t retry_after_ms, double chance, int64_t *ret_delay_ms)
{
    if (age_ms >= schedule->max_age_ms && schedule->n_delays > 0)
        return RETRY_EXHAUSTED_AGE;
    if (attempt > schedule->n_delays)
        return RETRY_EXHAUSTED_ATTEMPTS;
    int64_t step_ms = schedule->delays_ms[attempt < 1 ? 0 : attempt - 1];
    int64_t delay_ms = (int64_t)((double)step_ms * (0.9 + 0.2 * chance) + 0.5);
    int64_t asked_ms = min_ms(retry_after_ms, longest_step(schedule));
    if (delay_ms < asked_ms)
        delay_ms = asked_ms;
    *ret_delay_ms = min_ms(delay_ms, schedule->max_age_ms - age_ms);
    return RETRY_AT;
}

int64_t retry_clamp_due(const retry_schedule_t *schedule, int64_t due_wall_ms, int64_t now_wall_ms)
{
    return min_ms(due_wall_ms, now_wall_ms + longest_step(schedule));
}
