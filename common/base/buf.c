#include "common/base/buf.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

bool slice_has_control(slice_t slice)
{
    for (size_t i = 0; i < slice.size; i++)
        if ((unsigned char)slice.data[i] < ' ')
            return true;
    return false;
}

void buf_init(buf_t *buf)
{
    *buf = (buf_t){0};
}

void buf_release(buf_t *buf)
{
    free(buf->data);
    buf_init(buf);
}

void buf_clear(buf_t *buf)
{
    buf->size = 0;
    if (buf->data)
        buf->data[0] = 0;
}

char *buf_reserve(buf_t *buf, size_t more)
{
    size_t need = buf->size + more + 1;
    if (need > buf->capacity) {
        size_t capacity = buf->capacity ? buf->capacity * 2 : 64;
        while (capacity < need)
            capacity *= 2;
        buf->data = mem_realloc(buf->data, capacity);
        buf->capacity = capacity;
    }
    return buf->data + buf->size;
}

void buf_add(buf_t *buf, const void *data, size_t size)
{
    char *to = buf_reserve(buf, size);
    if (size)
        memcpy(to, data, size);
    buf->size += size;
    buf->data[buf->size] = 0;
}

void buf_add_str(buf_t *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_add_slice(buf_t *buf, slice_t slice)
{
    buf_add(buf, slice.data, slice.size);
}

void buf_add_char(buf_t *buf, char c)
{
    buf_add(buf, &c, 1);
}

void buf_printf(buf_t *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = buf->capacity - buf->size;
    int size = vsnprintf(room ? buf->data + buf->size : NULL, room, format, args);
    va_end(args);
    ENSURE(size >= 0);
    if ((size_t)size >= room)
        vsnprintf(buf_reserve(buf, (size_t)size), (size_t)size + 1, format, again);
    va_end(again);
    buf->size += (size_t)size;
}

slice_t buf_slice(const buf_t *buf)
{
    return (slice_t){buf->data ? buf->data : "", buf->size};
}

char *buf_take(buf_t *buf)
{
    char *data = buf->data ? buf->data : mem_strdup("");
    buf_init(buf);
    return data;
}
