/* clk: the two clocks. Points in time that are stored or shown use the wall clock; intervals and
 * timers use the monotonic one, so that a stepped clock can neither stop nor hurry them. */
#ifndef PROVISOR_CLK_H
#define PROVISOR_CLK_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

/* Milliseconds since the epoch. */
int64_t clk_wall_ms(void);
/* Milliseconds, microseconds since some fixed moment; never steps. */
int64_t clk_mono_ms(void);
int64_t clk_mono_us(void);

enum { CLK_ISO_SIZE = 32 };
/* "2026-01-01T00:00:00+00:00": UTC, whole seconds, as events carry it. */
void clk_iso_seconds(int64_t wall_ms, char ret_text[static CLK_ISO_SIZE]);
/* "2026-01-01T00:00:00.123Z": as records and logs carry it. */
void clk_iso_millis(int64_t wall_ms, char ret_text[static CLK_ISO_SIZE]);
/* ISO 8601 date-time with offset or Z, seconds required, optional fraction (RFC 3339 5.6, with
 * 'T' or 't'). RESULT_INVALID on anything else, also on a day that does not exist. */
result_t clk_parse_iso(slice_t text, int64_t *ret_wall_ms) MUST_CHECK;

/* "15s", "500ms", "5m", "2h", "1d" or "0"; RESULT_INVALID on anything else. */
result_t clk_parse_duration(slice_t text, int64_t *ret_ms) MUST_CHECK;
/* The shortest exact form of the above. */
void clk_format_duration(int64_t ms, char ret_text[static CLK_ISO_SIZE]);

#endif
