#include "common/base/clk.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>

static int64_t now_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clk_wall_ms(void)
{
    return now_ns(CLOCK_REALTIME) / 1000000;
}

int64_t clk_mono_ms(void)
{
    return now_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t clk_mono_us(void)
{
    return now_ns(CLOCK_MONOTONIC) / 1000;
}

static struct tm utc_of(int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000 - (wall_ms % 1000 < 0));
    struct tm tm;
    gmtime_r(&seconds, &tm);
    return tm;
}

void clk_iso_seconds(int64_t wall_ms, char ret_text[static CLK_ISO_SIZE])
{
    struct tm tm = utc_of(wall_ms);
    strftime(ret_text, CLK_ISO_SIZE, "%Y-%m-%dT%H:%M:%S+00:00", &tm);
}

void clk_iso_millis(int64_t wall_ms, char ret_text[static CLK_ISO_SIZE])
{
    struct tm tm = utc_of(wall_ms);
    size_t used = strftime(ret_text, CLK_ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    int millis = (int)(((wall_ms % 1000) + 1000) % 1000);
    snprintf(ret_text + used, CLK_ISO_SIZE - used, ".%03dZ", millis);
}

/* Reads exactly digits decimal digits at *at and moves on. */
static bool take_number(slice_t text, size_t *at, int digits, int *ret_value)
{
    int value = 0;
    for (int i = 0; i < digits; i++, (*at)++) {
        if (*at >= text.size || !isdigit((unsigned char)text.data[*at]))
            return false;
        value = value * 10 + (text.data[*at] - '0');
    }
    *ret_value = value;
    return true;
}

static bool take_char(slice_t text, size_t *at, char c)
{
    if (*at >= text.size || toupper((unsigned char)text.data[*at]) != c)
        return false;
    (*at)++;
    return true;
}

static bool take_fraction(slice_t text, size_t *at, int *ret_millis)
{
    *ret_millis = 0;
    if (!take_char(text, at, '.'))
        return true;
    size_t first = *at;
    for (int weight = 100; *at < text.size && isdigit((unsigned char)text.data[*at]); (*at)++) {
        *ret_millis += (text.data[*at] - '0') * weight;
        weight /= 10;
    }
    return *at > first;
}

static bool take_offset(slice_t text, size_t *at, int *ret_minutes)
{
    int hours, minutes, sign = 1;
    *ret_minutes = 0;
    if (take_char(text, at, 'Z'))
        return true;
    if (take_char(text, at, '-'))
        sign = -1;
    else if (!take_char(text, at, '+'))
        return false;
    if (!take_number(text, at, 2, &hours))
        return false;
    (void)take_char(text, at, ':');
    if (!take_number(text, at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

static bool day_exists(int year, int month, int day)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1)
        return false;
    return day <= days[month - 1] + (leap && month == 2);
}

result_t clk_parse_iso(slice_t text, int64_t *ret_wall_ms)
{
    struct tm tm = {0};
    size_t at = 0;
    int year, month, millis, offset_minutes;
    bool ok = take_number(text, &at, 4, &year) && take_char(text, &at, '-') &&
              take_number(text, &at, 2, &month) && take_char(text, &at, '-') &&
              take_number(text, &at, 2, &tm.tm_mday) && take_char(text, &at, 'T') &&
              take_number(text, &at, 2, &tm.tm_hour) && take_char(text, &at, ':') &&
              take_number(text, &at, 2, &tm.tm_min) && take_char(text, &at, ':') &&
              take_number(text, &at, 2, &tm.tm_sec) && take_fraction(text, &at, &millis) &&
              take_offset(text, &at, &offset_minutes) && at == text.size;
    if (!ok || !day_exists(year, month, tm.tm_mday) || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60)
        return RESULT_INVALID;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    *ret_wall_ms = ((int64_t)timegm(&tm) - offset_minutes * 60) * 1000 + millis;
    return RESULT_OK;
}

static const struct {
    const char *unit;
    int64_t ms;
} duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

result_t clk_parse_duration(slice_t text, int64_t *ret_ms)
{
    int64_t value = 0;
    size_t at = 0;
    for (; at < text.size && isdigit((unsigned char)text.data[at]); at++) {
        value = value * 10 + (text.data[at] - '0');
        if (value > 1000000000000)
            return RESULT_INVALID;
    }
    if (at == 0)
        return RESULT_INVALID;
    slice_t unit = {text.data + at, text.size - at};
    if (unit.size == 0 && value == 0) {
        *ret_ms = 0;
        return RESULT_OK;
    }
    for (size_t i = 0; i < sizeof duration_units / sizeof *duration_units; i++)
        if (slice_is(unit, duration_units[i].unit)) {
            if (value > INT64_MAX / duration_units[i].ms)
                return RESULT_INVALID;
            *ret_ms = value * duration_units[i].ms;
            return RESULT_OK;
        }
    return RESULT_INVALID;
}

void clk_format_duration(int64_t ms, char ret_text[static CLK_ISO_SIZE])
{
    for (size_t i = 0; i < sizeof duration_units / sizeof *duration_units; i++)
        if (ms != 0 && ms % duration_units[i].ms == 0) {
            snprintf(ret_text, CLK_ISO_SIZE, "%lld%s", (long long)(ms / duration_units[i].ms),
                     duration_units[i].unit);
            return;
        }
    snprintf(ret_text, CLK_ISO_SIZE, "0");
}
