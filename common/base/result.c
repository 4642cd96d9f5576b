#include "common/base/result.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const char *result_str(result_t result)
{
    static const char *const names[] = {
        [RESULT_OK] = "ok",
        [RESULT_AGAIN] = "again",
        [RESULT_NOT_FOUND] = "not_found",
        [RESULT_EXISTS] = "exists",
        [RESULT_INVALID] = "invalid",
        [RESULT_TOO_LARGE] = "too_large",
        [RESULT_FULL] = "full",
        [RESULT_IO] = "io",
        [RESULT_LOCKED] = "locked",
        [RESULT_VERSION] = "version",
        [RESULT_TIMEOUT] = "timeout",
        [RESULT_ENDED] = "ended",
        [RESULT_CORRUPT] = "corrupt",
    };
    if ((size_t)result >= sizeof names / sizeof *names)
        return "unknown";
    return names[result];
}

result_t result_of_errno(int system_errno)
{
    switch (system_errno) {
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case EACCES:
    case EPERM:
    case EMFILE:
    case ENFILE:
        return RESULT_FULL;
    default:
        return RESULT_IO;
    }
}

result_t fault_set(fault_t *fault, result_t result, const char *format, ...)
{
    if (fault) {
        va_list args;
        va_start(args, format);
        vsnprintf(fault->text, sizeof fault->text, format, args);
        va_end(args);
    }
    return result;
}

_Noreturn void panic_at(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "level=panic at=%s:%d ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}
