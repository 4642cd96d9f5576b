/* filter: conditions on an event's body, all of which must hold.
 *
 *     /data/currency = "EUR" and /data/amount >= 10.50 and /data/country in ("DE", "FR")
 *     and /data/vip exists and /data/number prefix "+49" and /event/object_id != 12
 *
 * Paths are JSON pointers (RFC 6901) into the body that a handler receives: /event/dt,
 * /event/events_id, /event/object_id, /data and what is below it. One with white space, quotes or
 * = ! < > in it is written as a JSON string: "/data/two words" = 1. Operators: = != < <= > >= in
 * exists prefix. Values: JSON strings, numbers, true, false, null. Strings are compared byte by
 * byte after their escapes are resolved, numbers as decimals of any length, never as doubles.
 *
 * A missing path fails every condition but !=, and != of different types holds. null is a value: it
 * exists. Objects and arrays exist and are unequal to every value; an array's elements are
 * addressed by index (/data/lines/0/price). < <= > >= hold only between two numbers or two strings
 * (bytewise). */
#ifndef PROVISOR_FILTER_H
#define PROVISOR_FILTER_H

#include <stdbool.h>

#include "common/base/buf.h"

typedef struct filter_t filter_t;

/* RESULT_INVALID: the fault says what was expected, shows the text (a long one's part) in a second
 * line, and in a third one a caret under the character. "" is a filter that
 * everything passes. */
result_t filter_parse(slice_t text, filter_t **ret_filter, fault_t *fault) MUST_CHECK;
void filter_destroy(filter_t **filter);

/* What filters need of one body, read once however many filters ask. */
typedef struct filter_body_t filter_body_t;
filter_body_t *filter_body_new(void);
void filter_body_destroy(filter_body_t **body);
/* Starts with another body (borrowed until the next call); nothing is read before the first path is
 * asked for. The body is valid JSON (the emitter made it). */
void filter_body_set(filter_body_t *body, slice_t json);
/* So that the first filter_pass reads for all filters that will be asked. Without it each path that
 * was never asked before costs one more reading. */
void filter_body_want(filter_body_t *body, const filter_t *filter);
bool filter_pass(const filter_t *filter, filter_body_t *body);
/* -1, 0, 1 for two JSON numbers as decimals: 0.10 = 0.1, 1e2 = 100. */
int filter_compare_numbers(slice_t a, slice_t b);

#endif
