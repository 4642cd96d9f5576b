#include "services/auditor/commit.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/wire/codec.h"

commit_t *commit_new(void)
{
    commit_t *commit = MEM_NEW(commit_t);
    commit->since_ms = clk_mono_ms();
    return commit;
}

void commit_destroy(commit_t **commit_ref)
{
    commit_t *commit = *commit_ref;
    if (!commit)
        return;
    for (size_t i = 0; i < commit->n_frames; i++)
        zframe_destroy(&commit->frames[i]);
    free(commit->frames);
    free(commit->items);
    marks_rows_release(&commit->marks);
    free(commit);
    *commit_ref = NULL;
}

slice_t commit_keep(commit_t *commit, zframe_t **frame_ref)
{
    if (commit->n_frames == commit->frame_capacity) {
        commit->frame_capacity = commit->frame_capacity ? commit->frame_capacity * 2 : 16;
        commit->frames =
            mem_realloc(commit->frames, commit->frame_capacity * sizeof *commit->frames);
    }
    zframe_t *frame = *frame_ref;
    *frame_ref = NULL;
    commit->frames[commit->n_frames++] = frame;
    commit->size_bytes += zframe_size(frame);
    return (slice_t){(const char *)zframe_data(frame), zframe_size(frame)};
}

commit_item_t *commit_add(commit_t *commit)
{
    if (commit->n_items == 0)
        commit->since_ms = clk_mono_ms();
    if (commit->n_items == commit->capacity) {
        commit->capacity = commit->capacity ? commit->capacity * 2 : 16;
        commit->items = mem_realloc(commit->items, commit->capacity * sizeof *commit->items);
    }
    commit->size_bytes += sizeof *commit->items;
    commit_item_t *item = &commit->items[commit->n_items++];
    *item = (commit_item_t){0};
    return item;
}

/* node, service and the encoded record, one after the other in one frame. */
void commit_add_own(commit_t *commit, slice_t node, slice_t service, const record_t *record)
{
    AUTO_BUF bytes = {0};
    buf_add_slice(&bytes, node);
    buf_add_slice(&bytes, service);
    codec_add(&record_table, record, &bytes);
    zframe_t *frame = zframe_new(bytes.data, bytes.size);
    slice_t kept = commit_keep(commit, &frame);

    commit_item_t *item = commit_add(commit);
    item->entry.node = (slice_t){kept.data, node.size};
    item->entry.service = (slice_t){kept.data + node.size, service.size};
    item->encoded =
        (slice_t){kept.data + node.size + service.size, kept.size - node.size - service.size};
    ENSURE(codec_decode(item->encoded, &record_table, &item->entry.record) == RESULT_OK);
}

void commit_remove(commit_t *commit, size_t at, size_t n)
{
    if (n == 0)
        return;
    memmove(commit->items + at, commit->items + at + n,
            (commit->n_items - at - n) * sizeof *commit->items);
    commit->n_items -= n;
    commit->size_bytes -= n * sizeof *commit->items;
}
