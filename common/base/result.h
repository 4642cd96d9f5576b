/* result: what a function that can fail returns, and the text that goes with it.
 *
 * A result says what the caller can do about it. Out of memory is not here: it aborts
 * (docs/adr/0003-out-of-memory.md). A broken invariant of our own is not here: it panics. */
#ifndef PROVISOR_RESULT_H
#define PROVISOR_RESULT_H

#include <stdarg.h>

typedef enum {
    RESULT_OK = 0,
    RESULT_AGAIN,     /* not now: no room, nothing there yet; the same call may work later */
    RESULT_NOT_FOUND, /* the thing that was asked for does not exist */
    RESULT_EXISTS,    /* it is there already */
    RESULT_INVALID,   /* bad input from a peer, a file or a flag; the fault says where and why */
    RESULT_TOO_LARGE, /* a limit was passed */
    RESULT_FULL,      /* nothing can be written now, or not opened: disk full, read-only, not
                         permitted, no descriptor left: wait and try the same again */
    RESULT_IO,        /* EIO, failed fsync: stop the process, recover from disk */
    RESULT_LOCKED,    /* another process owns it; the fault says who */
    RESULT_VERSION,   /* written by a newer version than this one */
    RESULT_TIMEOUT,   /* the peer did not answer in time */
    RESULT_ENDED,     /* the peer was there and went without an answer */
    RESULT_CORRUPT,   /* a file that is damaged or not ours: stop, only a human can help */
} result_t;

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* A message for people: what is wrong, where, and the way out. Caller-owned, always terminated. */
typedef struct {
    char text[512];
} fault_t;

/* "not_found", "full", ... */
const char *result_str(result_t result);

/* RESULT_FULL for what passes without a loss (ENOSPC, EDQUOT, EROFS, EACCES, EPERM, EMFILE,
 * ENFILE), else RESULT_IO. Not for a failed fsync, which is always RESULT_IO. */
result_t result_of_errno(int system_errno);

/* Writes the message (fault may be NULL) and returns result, so that a failure is one line. */
result_t fault_set(fault_t *fault, result_t result, const char *format, ...) PRINTF_LIKE(3, 4);

/* Our own bug: message to stderr, core dump. */
_Noreturn void panic_at(const char *file, int line, const char *format, ...) PRINTF_LIKE(3, 4);
#define PANIC(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)
#define ENSURE(condition)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            PANIC("broken invariant: %s", #condition);                                             \
    } while (0)

#endif
