/* breaker: a handler's circuit. Pure; times are monotonic ms.
 *
 * Closed: everything may be sent. After failures in a row it opens: nothing is sent but one probe
 * each probe interval (doubling up to 32 times it). A probe's success closes it. Failures that say
 * nothing about the receiver's health (4xx other than 408, 429) do not count and a response below
 * 500 closes it. */
#ifndef PROVISOR_BREAKER_H
#define PROVISOR_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING } breaker_state_t;

typedef struct {
    breaker_state_t state;
    int failures;        /* in a row */
    int64_t probe_at_ms; /* open: when the next probe may go */
    int64_t interval_ms; /* of probes, grows */
} breaker_t;

typedef struct {
    int failures_max;
    int64_t probe_ms;
} breaker_settings_t;

void breaker_init(breaker_t *breaker);
/* May a request start now? In state open and due this takes the probe: follow with success or
 * failure. */
bool breaker_take(breaker_t *breaker, int64_t now_ms);
/* When breaker_take may say yes again; 0: now; INT64_MAX: not before the probe's result. */
int64_t breaker_due_ms(const breaker_t *breaker);
/* True when this closed it. */
bool breaker_success(breaker_t *breaker);
/* True when this opened it. While it is open (a request that started before it opened) it changes
 * nothing; while it probes it is the probe's failure: who has other requests in flight then tells
 * only of the probe. */
bool breaker_failure(breaker_t *breaker, const breaker_settings_t *settings, int64_t now_ms);
/* The probe did not happen after all: another one may go at once. */
void breaker_give_back(breaker_t *breaker);
/* The probe said nothing about the receiver: another one after the same interval. */
void breaker_postpone(breaker_t *breaker, int64_t now_ms);
/* An operator asks: open: the next probe may go at once. */
void breaker_hurry(breaker_t *breaker, int64_t now_ms);
const char *breaker_str(const breaker_t *breaker); /* "closed", "open", "probing" */

#endif
