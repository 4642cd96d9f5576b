/* buf: bytes. slice_t borrows, buf_t owns and grows. */
#ifndef PROVISOR_BUF_H
#define PROVISOR_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/result.h"

/* Borrowed bytes, not terminated. {NULL, 0} is "absent"; an empty string has data != NULL. */
typedef struct {
    const char *data;
    size_t size;
} slice_t;

/* printf ("%.*s", SLICE_ARG (slice)) */
#define SLICE_ARG(s) (int)(s).size, (s).data ? (s).data : ""
#define SLICE(literal)                                                                             \
    (slice_t)                                                                                      \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static inline slice_t slice_of(const char *text)
{
    return (slice_t){text, text ? strlen(text) : 0};
}

static inline bool slice_equal(slice_t a, slice_t b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool slice_is(slice_t a, const char *text)
{
    return slice_equal(a, slice_of(text));
}

/* A byte below ' ', which would end a line or a text. */
bool slice_has_control(slice_t slice);

/* A growing buffer. data is always terminated by a zero byte that size does not count (or NULL
 * while nothing was added). Zero-initialise or buf_init (); ends with buf_release (). */
typedef struct {
    char *data;
    size_t size;
    size_t capacity;
} buf_t;

#define AUTO_BUF __attribute__((cleanup(buf_release))) buf_t

void buf_init(buf_t *buf);
void buf_release(buf_t *buf);
/* Empties it and keeps the memory. */
void buf_clear(buf_t *buf);
/* Room for at least more bytes; returns where they go. Follow with size += n. */
char *buf_reserve(buf_t *buf, size_t more);
void buf_add(buf_t *buf, const void *data, size_t size);
void buf_add_str(buf_t *buf, const char *text);
void buf_add_slice(buf_t *buf, slice_t slice);
void buf_add_char(buf_t *buf, char c);
void buf_printf(buf_t *buf, const char *format, ...) PRINTF_LIKE(2, 3);
slice_t buf_slice(const buf_t *buf);
/* Hands the terminated memory to the caller (free ()), "" when nothing was added. */
char *buf_take(buf_t *buf);

#endif
