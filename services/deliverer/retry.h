/* retry: when a delivery is tried again, and when it is given up. Pure. */
#ifndef PROVISOR_RETRY_H
#define PROVISOR_RETRY_H

#include "common/base/buf.h"

enum { RETRY_DELAYS_MAX = 32 };

typedef struct {
    int64_t delays_ms[RETRY_DELAYS_MAX]; /* after attempt i + 1 */
    int n_delays;                        /* n delays = n + 1 attempts */
    int64_t max_age_ms;                  /* counted from acceptance */
} retry_schedule_t;

/* "5s,5m,30m"; "" = no retries. max_age_ms -1: the sum of the delays with their jitter, and a
 * minute per attempt for what the attempts themselves take, so that the default never costs an
 * attempt of the schedule in ordinary times. */
result_t retry_parse(slice_t text, int64_t max_age_ms, retry_schedule_t *ret_schedule,
                     fault_t *fault) MUST_CHECK;

typedef enum { RETRY_AT, RETRY_EXHAUSTED_ATTEMPTS, RETRY_EXHAUSTED_AGE } retry_verdict_t;

/* attempt: the one that just failed, from 1. retry_after_ms: 0 or what the receiver asked for
 * (honoured up to the schedule's longest step, never earlier than the schedule). chance 0..1:
 * jitter of +-10%. RETRY_AT: ret_delay_ms from now; a step that would end beyond max_age_ms is cut
 * to it, so that the last attempt is made just before the delivery is too old. */
retry_verdict_t retry_next(const retry_schedule_t *schedule, int attempt, int64_t age_ms,
                           int64_t retry_after_ms, double chance, int64_t *ret_delay_ms);
/* A stored due time further off than the longest step (a stepped clock) is cut to it. */
int64_t retry_clamp_due(const retry_schedule_t *schedule, int64_t due_wall_ms, int64_t now_wall_ms);

#endif
