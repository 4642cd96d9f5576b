#include "services/emitter/arena.h"
#include "common/base/mem.h"

#include <stdlib.h>

enum { BLOCK_BYTES = 65536, ALIGN_BYTES = 16 };

struct arena_block_t {
    arena_block_t *next;
    size_t size; /* of data */
    size_t used;
    char data[] __attribute__((aligned(ALIGN_BYTES)));
};

static void add_block(arena_t *arena, size_t size)
{
    size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    arena_block_t *block = mem_realloc(NULL, sizeof *block + room); /* not zeroed: it is hot */
    *block = (arena_block_t){.next = arena->blocks, .size = room};
    arena->blocks = block;
}

void arena_release(arena_t *arena)
{
    while (arena->blocks) {
        arena_block_t *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
    arena->bytes = 0;
}

void arena_clear(arena_t *arena)
{
    arena_block_t *kept = NULL;
    while (arena->blocks) {
        arena_block_t *block = arena->blocks;
        arena->blocks = block->next;
        if (!kept && block->size == BLOCK_BYTES)
            kept = block;
        else
            free(block);
    }
    if (kept)
        *kept = (arena_block_t){.size = BLOCK_BYTES};
    *arena = (arena_t){.blocks = kept};
}

arena_mark_t arena_mark(const arena_t *arena)
{
    return (arena_mark_t){arena->blocks, arena->blocks ? arena->blocks->used : 0, arena->bytes};
}

void arena_rewind(arena_t *arena, const arena_mark_t *mark)
{
    while (arena->blocks != mark->newest) {
        arena_block_t *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
    if (arena->blocks)
        arena->blocks->used = mark->used;
    arena->bytes = mark->bytes;
}

void *arena_alloc(arena_t *arena, size_t size)
{
    size = (size + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    if (!arena->blocks || arena->blocks->size - arena->blocks->used < size)
        add_block(arena, size);
    arena_block_t *block = arena->blocks;
    void *pointer = block->data + block->used;
    block->used += size;
    arena->bytes += size;
    return pointer;
}

slice_t arena_copy(arena_t *arena, slice_t bytes)
{
    if (!bytes.data)
        return bytes;
    char *copy = arena_alloc(arena, bytes.size ? bytes.size : 1);
    if (bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    return (slice_t){copy, bytes.size};
}
