/* arena: memory that is given back all at once. What comes out of it stays where it is until
 * arena_clear, so slices into it may be kept by whoever knows when that is. */
#ifndef PROVISOR_ARENA_H
#define PROVISOR_ARENA_H

#include "common/base/buf.h"

typedef struct arena_block_t arena_block_t;

/* Zero-initialise; ends with arena_release (). */
typedef struct {
    arena_block_t *blocks; /* the newest first; only it has room left */
    size_t bytes;          /* handed out since the last clear */
} arena_t;

void arena_release(arena_t *arena);
typedef struct {
    arena_block_t *newest;
    size_t used, bytes;
} arena_mark_t;

arena_mark_t arena_mark(const arena_t *arena);
/* Takes back what came out since the mark. Requires that nothing before it was taken back. */
void arena_rewind(arena_t *arena, const arena_mark_t *mark);
/* Takes back everything; keeps one block of the usual size. */
void arena_clear(arena_t *arena);
/* Aligned for every type, not zeroed. */
void *arena_alloc(arena_t *arena, size_t size);
/* A copy; an absent slice stays absent. */
slice_t arena_copy(arena_t *arena, slice_t bytes);

#endif
