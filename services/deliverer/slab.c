#include "services/deliverer/slab.h"
#include "common/base/mem.h"
#include "common/base/result.h"

#include <stdlib.h>
#include <string.h>

void slab_init(slab_t *slab, size_t element_bytes)
{
    *slab = (slab_t){.element_bytes = element_bytes};
}

void slab_release(slab_t *slab)
{
    for (uint32_t i = 0; i < slab->n_chunks; i++)
        free(slab->chunks[i]);
    free(slab->chunks);
    slab_init(slab, slab->element_bytes);
}

static void *slot_at(const slab_t *slab, slab_chunk_t *chunk, uint32_t slot)
{
    return chunk->bytes + slot * slab->element_bytes;
}

static void room_add(slab_t *slab, slab_chunk_t *chunk)
{
    chunk->prev = 0;
    chunk->next = slab->room;
    if (chunk->next)
        slab->chunks[chunk->next - 1]->prev = chunk->id + 1;
    slab->room = chunk->id + 1;
}

static void room_remove(slab_t *slab, slab_chunk_t *chunk)
{
    if (chunk->prev)
        slab->chunks[chunk->prev - 1]->next = chunk->next;
    else
        slab->room = chunk->next;
    if (chunk->next)
        slab->chunks[chunk->next - 1]->prev = chunk->prev;
}

/* Once in SLAB_CHUNK elements at most, so looking for a vacant id costs nothing that counts. */
static void add_chunk(slab_t *slab)
{
    uint32_t id = 0;
    while (id < slab->n_chunks && slab->chunks[id])
        id++;
    if (id == slab->n_chunks) {
        ENSURE(slab->n_chunks < (UINT32_MAX >> SLAB_SHIFT));
        slab->n_chunks = slab->n_chunks ? slab->n_chunks * 2 : 4;
        slab->chunks = mem_realloc(slab->chunks, slab->n_chunks * sizeof(*slab->chunks));
        memset(slab->chunks + id, 0, (slab->n_chunks - id) * sizeof(*slab->chunks));
    }
    slab_chunk_t *chunk = mem_alloc(sizeof *chunk + SLAB_CHUNK * slab->element_bytes);
    chunk->id = id;
    slab->chunks[id] = chunk;
    slab->empty++;
    room_add(slab, chunk);
}

uint32_t slab_take(slab_t *slab)
{
    if (!slab->room)
        add_chunk(slab);
    slab_chunk_t *chunk = slab->chunks[slab->room - 1];
    uint32_t slot = chunk->used;
    if (chunk->free) {
        slot = chunk->free - 1;
        memcpy(&chunk->free, slot_at(slab, chunk, slot), sizeof chunk->free);
        memset(slot_at(slab, chunk, slot), 0, slab->element_bytes);
    } else {
        chunk->used++;
    }
    if (chunk->live++ == 0)
        slab->empty--;
    if (chunk->live == SLAB_CHUNK)
        room_remove(slab, chunk);
    slab->live++;
    return ((chunk->id << SLAB_SHIFT) | slot) + 1;
}

void slab_give(slab_t *slab, uint32_t index)
{
    slab_chunk_t *chunk = slab->chunks[(index - 1) >> SLAB_SHIFT];
    uint32_t slot = (index - 1) & (SLAB_CHUNK - 1);
    memcpy(slot_at(slab, chunk, slot), &chunk->free, sizeof chunk->free);
    chunk->free = slot + 1;
    if (chunk->live-- == SLAB_CHUNK)
        room_add(slab, chunk);
    slab->live--;
    if (chunk->live > 0)
        return;
    if (slab->empty == 0) {
        slab->empty = 1; /* kept, so that a count that goes up and down by one costs nothing */
        return;
    }
    room_remove(slab, chunk);
    slab->chunks[chunk->id] = NULL;
    free(chunk);
}

size_t slab_bytes(const slab_t *slab)
{
    size_t bytes = slab->n_chunks * sizeof(*slab->chunks);
    for (uint32_t i = 0; i < slab->n_chunks; i++)
        if (slab->chunks[i])
            bytes += sizeof(slab_chunk_t) + SLAB_CHUNK * slab->element_bytes;
    return bytes;
}
