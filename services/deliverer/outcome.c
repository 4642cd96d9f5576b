#include "services/deliverer/outcome.h"

#include <ctype.h>
#include <time.h>

outcome_t outcome_of(const exchange_result_t *result)
{
    if (result->end != EXCHANGE_ANSWERED)
        return OUTCOME_FAILED;
    if (result->status >= 200 && result->status <= 299)
        return OUTCOME_DELIVERED;
    return result->status == 410 ? OUTCOME_GONE : OUTCOME_FAILED;
}

lanes_health_t outcome_health(const exchange_result_t *result)
{
    if (result->end == EXCHANGE_INVALID || result->end == EXCHANGE_STARVED)
        return LANES_NEUTRAL;
    if (result->end != EXCHANGE_ANSWERED)
        return LANES_UNHEALTHY;
    if (result->status == 408 || result->status == 429 || result->status >= 500)
        return LANES_UNHEALTHY;
    return LANES_HEALTHY;
}

enum { DATE_SIZE = 48 };
#define SECONDS_MAX INT64_C(1000000000)

/* The three forms of RFC 9110 5.6.7; the last two are obsolete but must be understood. */
static bool parse_date(const char text[DATE_SIZE], int64_t *ret_wall_ms)
{
    static const char *const formats[] = {
        "%a, %d %b %Y %H:%M:%S GMT",
        "%a, %d-%b-%y %H:%M:%S GMT",
        "%a %b %e %H:%M:%S %Y",
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct tm tm = {0};
        const char *end = strptime(text, formats[i], &tm);
        if (!end || *end)
            continue;
        int day = tm.tm_mday;
        time_t seconds = timegm(&tm);
        if (tm.tm_mday != day)
            return false; /* 31 Feb */
        *ret_wall_ms = (int64_t)seconds * 1000;
        return true;
    }
    return false;
}

/* More than SECONDS_MAX is SECONDS_MAX: the schedule's longest step is far below. */
static bool parse_seconds(const char text[DATE_SIZE], int64_t *ret_seconds)
{
    int64_t seconds = 0;
    for (const char *at = text; *at; at++) {
        if (!isdigit((unsigned char)*at))
            return false;
        seconds = seconds * 10 + (*at - '0');
        if (seconds > SECONDS_MAX)
            seconds = SECONDS_MAX;
    }
    *ret_seconds = seconds;
    return *text != '\0';
}

int64_t outcome_retry_after_ms(const exchange_result_t *result, int64_t now_wall_ms)
{
    slice_t value = result->retry_after;
    char text[DATE_SIZE] = "";
    int64_t seconds = 0;
    int64_t wall_ms = 0;
    if (result->end != EXCHANGE_ANSWERED || (result->status != 429 && result->status != 503))
        return 0;
    while (value.size && isspace((unsigned char)value.data[0]))
        value.data++, value.size--;
    while (value.size && isspace((unsigned char)value.data[value.size - 1]))
        value.size--;
    if (value.size == 0 || value.size >= sizeof text || memchr(value.data, 0, value.size))
        return 0;
    memcpy(text, value.data, value.size);
    if (parse_seconds(text, &seconds))
        return seconds * 1000;
    if (parse_date(text, &wall_ms) && wall_ms > now_wall_ms)
        return wall_ms - now_wall_ms;
    return 0;
}
