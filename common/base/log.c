#include "common/base/log.h"
#include "common/base/buf.h"
#include "common/base/clk.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

void log_line(const log_t *log, log_level_t level, const char *format, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (level > log->level)
        return;
    char time[CLK_ISO_SIZE], text[2048];
    clk_iso_millis(clk_wall_ms(), time);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (iscntrl(
                (unsigned char)*c)) /* others' words may be in it: no line, no escape of theirs */
            *c = ' ';
    AUTO_BUF line = {0};
    buf_printf(&line, "time=%s level=%s service=%s %s\n", time, names[level], log->service, text);
    ssize_t written = write(STDERR_FILENO, line.data, line.size); /* one write: lines stay whole */
    (void)written;
}
