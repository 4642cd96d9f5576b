#include "services/auditor/shelf.h"
#include "common/base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct shelf_t {
    pthread_mutex_t mutex;
    shelf_segment_t *segments; /* guarded; oldest first */
    size_t n;                  /* guarded */
};

shelf_t *shelf_new(void)
{
    shelf_t *shelf = MEM_NEW(shelf_t);
    pthread_mutex_init(&shelf->mutex, NULL);
    return shelf;
}

void shelf_destroy(shelf_t **shelf_ref)
{
    shelf_t *shelf = *shelf_ref;
    if (!shelf)
        return;
    pthread_mutex_destroy(&shelf->mutex);
    free(shelf->segments);
    free(shelf);
    *shelf_ref = NULL;
}

void shelf_add(shelf_t *shelf, const shelf_segment_t *segment)
{
    pthread_mutex_lock(&shelf->mutex);
    ENSURE(shelf->n == 0 || !shelf->segments[shelf->n - 1].live);
    shelf->segments = mem_realloc(shelf->segments, (shelf->n + 1) * sizeof *shelf->segments);
    shelf->segments[shelf->n++] = *segment;
    pthread_mutex_unlock(&shelf->mutex);
}

/* Requires the mutex. */
static shelf_segment_t *find(shelf_t *shelf, int64_t first_id)
{
    for (size_t i = shelf->n; i-- > 0;)
        if (shelf->segments[i].span.first_id == first_id)
            return &shelf->segments[i];
    return NULL;
}

void shelf_update(shelf_t *shelf, const shelf_segment_t *segment)
{
    pthread_mutex_lock(&shelf->mutex);
    shelf_segment_t *found = find(shelf, segment->span.first_id);
    if (found && found->damaged == segment->damaged)
        *found = *segment;
    pthread_mutex_unlock(&shelf->mutex);
}

void shelf_remove_first(shelf_t *shelf)
{
    pthread_mutex_lock(&shelf->mutex);
    ENSURE(shelf->n > 0);
    shelf->n--;
    memmove(shelf->segments, shelf->segments + 1, shelf->n * sizeof *shelf->segments);
    pthread_mutex_unlock(&shelf->mutex);
}

size_t shelf_copy(shelf_t *shelf, shelf_segment_t **ret_segments)
{
    pthread_mutex_lock(&shelf->mutex);
    size_t n = shelf->n, bytes = n * sizeof *shelf->segments;
    shelf_segment_t *copy = mem_alloc(bytes ? bytes : 1);
    if (bytes)
        memcpy(copy, shelf->segments, bytes);
    pthread_mutex_unlock(&shelf->mutex);
    *ret_segments = copy;
    return n;
}

bool shelf_has(shelf_t *shelf, int64_t first_id)
{
    pthread_mutex_lock(&shelf->mutex);
    const shelf_segment_t *found = find(shelf, first_id);
    bool has = found && !found->damaged;
    pthread_mutex_unlock(&shelf->mutex);
    return has;
}

void shelf_set_damaged(shelf_t *shelf, int64_t first_id)
{
    pthread_mutex_lock(&shelf->mutex);
    shelf_segment_t *found = find(shelf, first_id);
    if (found && !found->live)
        found->damaged = true;
    pthread_mutex_unlock(&shelf->mutex);
}

bool shelf_is_damaged(shelf_t *shelf, int64_t first_id)
{
    pthread_mutex_lock(&shelf->mutex);
    const shelf_segment_t *found = find(shelf, first_id);
    bool damaged = found && found->damaged;
    pthread_mutex_unlock(&shelf->mutex);
    return damaged;
}

int64_t shelf_oldest_id(shelf_t *shelf)
{
    pthread_mutex_lock(&shelf->mutex);
    int64_t id = shelf->n ? shelf->segments[0].span.first_id : 1;
    pthread_mutex_unlock(&shelf->mutex);
    return id;
}
