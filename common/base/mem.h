/* mem: allocation that never returns NULL (docs/adr/0003-out-of-memory.md).
 *
 * Every size that comes from outside is bounded before it gets here. */
#ifndef PROVISOR_MEM_H
#define PROVISOR_MEM_H

#include <stddef.h>

/* Zeroed memory; aborts when there is none. Ends with free (). */
void *mem_alloc(size_t size) __attribute__((returns_nonnull, malloc));
void *mem_realloc(void *pointer, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *text) __attribute__((returns_nonnull, malloc));
char *mem_strndup(const char *text, size_t size) __attribute__((returns_nonnull, malloc));

#define MEM_NEW(type) ((type *)mem_alloc(sizeof(type)))

#endif
