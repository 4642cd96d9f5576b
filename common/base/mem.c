#include "common/base/mem.h"
#include "common/base/result.h"

#include <stdlib.h>
#include <string.h>

void *mem_alloc(size_t size)
{
    void *pointer = calloc(1, size ? size : 1);
    if (!pointer)
        PANIC("out of memory asking for %zu bytes", size);
    return pointer;
}

void *mem_realloc(void *pointer, size_t size)
{
    void *moved = realloc(pointer, size ? size : 1);
    if (!moved)
        PANIC("out of memory asking for %zu bytes", size);
    return moved;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t size)
{
    char *copy = mem_alloc(size + 1);
    memcpy(copy, text, size);
    return copy;
}
