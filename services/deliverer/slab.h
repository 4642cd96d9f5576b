/* slab: many small elements of one size, addressed by 32-bit indexes instead of pointers.
 *
 * Memory comes in chunks that never move, so a pointer to an element lives as long as the element;
 * a chunk that has become empty goes back, but one. */
#ifndef PROVISOR_SLAB_H
#define PROVISOR_SLAB_H

#include <stddef.h>
#include <stdint.h>

enum { SLAB_SHIFT = 10, SLAB_CHUNK = 1 << SLAB_SHIFT };

typedef struct {
    uint32_t id;
    uint32_t live;             /* elements in use */
    uint32_t used;             /* slots that were ever in use */
    uint32_t free;             /* first free slot below used, + 1; 0: none */
    uint32_t prev, next;       /* among the chunks with room, + 1; 0: none */
    _Alignas(16) char bytes[]; /* SLAB_CHUNK elements */
} slab_chunk_t;

typedef struct {
    size_t element_bytes;
    slab_chunk_t **chunks; /* by id; NULL: none there */
    uint32_t n_chunks;
    uint32_t room;  /* first chunk with room, + 1; 0: none */
    uint32_t empty; /* chunks without a live element */
    size_t live;
} slab_t;

/* element_bytes >= 4. Ends with slab_release, which frees every element. */
void slab_init(slab_t *slab, size_t element_bytes);
void slab_release(slab_t *slab);
/* A zeroed element; its index is never 0. */
uint32_t slab_take(slab_t *slab);
void slab_give(slab_t *slab, uint32_t index);
/* What the chunks take from the system. */
size_t slab_bytes(const slab_t *slab);

static inline void *slab_at(const slab_t *slab, uint32_t index)
{
    slab_chunk_t *chunk = slab->chunks[(index - 1) >> SLAB_SHIFT];
    return chunk->bytes + ((index - 1) & (SLAB_CHUNK - 1)) * slab->element_bytes;
}

#endif
