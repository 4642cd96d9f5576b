/* log: one line per change of state, key=value, to stderr.
 *
 *     log_line (log, LEVEL_WARN, "event=disk_full store=%s retry_ms=%d", path, 1000);
 *  -> time=2026-01-01T00:00:00.123Z level=warn service=emitter event=disk_full store=...
 * retry_ms=1000
 *
 * error = a human must act; warn = degraded, the line says what happens next. No payloads, no
 * secrets. Values that may hold spaces are quoted by the caller ("%s" in the format). */
#ifndef PROVISOR_LOG_H
#define PROVISOR_LOG_H

#include "common/base/result.h"

typedef enum { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG } log_level_t;

typedef struct {
    const char *service; /* shown in each line; borrowed */
    log_level_t level;   /* lines above it are not written */
} log_t;

void log_line(const log_t *log, log_level_t level, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
