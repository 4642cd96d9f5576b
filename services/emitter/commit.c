#include "services/emitter/commit.h"
#include "common/base/mem.h"

#include <stdlib.h>

enum { KEEP_BYTES = 1024 * 1024 };

const char *source_str(source_t source)
{
    static const char *const names[] = {
        [SOURCE_PUSH] = "push", [SOURCE_INTAKE] = "intake", [SOURCE_REPLAY] = "replay"};
    return names[source];
}

commit_t *commit_new(void)
{
    return MEM_NEW(commit_t);
}

void commit_destroy(commit_t **commit)
{
    if (!*commit)
        return;
    arena_release(&(*commit)->arena);
    free((*commit)->entries);
    free((*commit)->requests);
    free((*commit)->deletes);
    free((*commit)->receipts);
    buf_release(&(*commit)->frames);
    free(*commit);
    *commit = NULL;
}

/* Makes room for one more of an array that doubles. */
static void *grow(void *array, size_t n, size_t *capacity, size_t size_bytes)
{
    if (n < *capacity)
        return array;
    *capacity = *capacity ? *capacity * 2 : 64;
    return mem_realloc(array, *capacity * size_bytes);
}

/* A burst's memory is not kept for ever. */
static void *shrink(void *array, size_t *capacity, size_t size_bytes)
{
    if (*capacity * size_bytes <= KEEP_BYTES)
        return array;
    free(array);
    *capacity = 0;
    return NULL;
}

void commit_clear_requests(commit_t *commit)
{
    arena_clear(&commit->arena);
    buf_clear(&commit->frames);
    if (commit->frames.capacity > KEEP_BYTES)
        buf_release(&commit->frames);
    commit->entries = shrink(commit->entries, &commit->entries_capacity, sizeof *commit->entries);
    commit->requests =
        shrink(commit->requests, &commit->requests_capacity, sizeof *commit->requests);
    commit->n_entries = commit->n_events = commit->n_requests = 0;
}

void commit_clear(commit_t *commit)
{
    commit_clear_requests(commit);
    commit->deletes = shrink(commit->deletes, &commit->deletes_capacity, sizeof *commit->deletes);
    commit->receipts =
        shrink(commit->receipts, &commit->receipts_capacity, sizeof *commit->receipts);
    commit->n_deletes = commit->n_receipts = 0;
    commit->deletes_mixed = false;
}

entry_t *commit_add_entry(commit_t *commit)
{
    commit->entries = grow(commit->entries, commit->n_entries, &commit->entries_capacity,
                           sizeof *commit->entries);
    entry_t *entry = &commit->entries[commit->n_entries++];
    *entry = (entry_t){0};
    return entry;
}

request_t *commit_add_request(commit_t *commit)
{
    commit->requests = grow(commit->requests, commit->n_requests, &commit->requests_capacity,
                            sizeof *commit->requests);
    request_t *request = &commit->requests[commit->n_requests++];
    *request = (request_t){.first = commit->n_entries};
    return request;
}

void commit_add_delete(commit_t *commit, int64_t seq)
{
    commit->deletes = grow(commit->deletes, commit->n_deletes, &commit->deletes_capacity,
                           sizeof *commit->deletes);
    commit->deletes_mixed |= commit->n_deletes > 0 && commit->deletes[commit->n_deletes - 1] > seq;
    commit->deletes[commit->n_deletes++] = seq;
}

void commit_add_receipt(commit_t *commit, const stored_receipt_t *receipt)
{
    commit->receipts = grow(commit->receipts, commit->n_receipts, &commit->receipts_capacity,
                            sizeof *commit->receipts);
    commit->receipts[commit->n_receipts++] = *receipt;
    commit->receipts_sorted = false;
}

static int compare_receipts(const void *a, const void *b)
{
    int64_t x = ((const stored_receipt_t *)a)->seq, y = ((const stored_receipt_t *)b)->seq;
    return x < y ? -1 : x > y;
}

static int compare_deletes(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

void commit_seal(commit_t *commit)
{
    if (commit->deletes_mixed)
        qsort(commit->deletes, commit->n_deletes, sizeof *commit->deletes, compare_deletes);
    commit->deletes_mixed = false;
    if (!commit->receipts_sorted && commit->n_receipts > 0)
        qsort(commit->receipts, commit->n_receipts, sizeof *commit->receipts, compare_receipts);
    commit->receipts_sorted = true;
}

receipt_kind_t commit_find_receipt(commit_t *commit, int64_t seq)
{
    if (commit->n_receipts == 0)
        return RECEIPT_NONE;
    if (!commit->receipts_sorted)
        commit_seal(commit);
    stored_receipt_t wanted = {.seq = seq};
    const stored_receipt_t *found =
        bsearch(&wanted, commit->receipts, commit->n_receipts, sizeof wanted, compare_receipts);
    return found ? found->receipt : RECEIPT_NONE;
}

bool commit_has_delete(commit_t *commit, int64_t seq)
{
    if (commit->deletes_mixed)
        commit_seal(commit);
    return commit->n_deletes > 0 && bsearch(&seq, commit->deletes, commit->n_deletes,
                                            sizeof *commit->deletes, compare_deletes);
}

bool commit_writes(const commit_t *commit)
{
    return commit->n_events > 0 || commit->n_deletes > 0 || commit->n_receipts > 0;
}

size_t commit_bytes(const commit_t *commit)
{
    return commit->arena.bytes + commit->n_entries * sizeof *commit->entries +
           commit->n_requests * sizeof *commit->requests;
}
