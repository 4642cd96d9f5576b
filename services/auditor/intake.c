#include "services/auditor/intake.h"
#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "common/wire/codec.h"

static slice_t frame_slice(zframe_t *frame)
{
    return (slice_t){(const char *)zframe_data(frame), zframe_size(frame)};
}

/* The stream passes these bytes on as JSON. */
static bool is_json(slice_t text)
{
    AUTO(json_tree) tree = NULL;
    return json_parse(text, &tree, NULL) == RESULT_OK;
}

static result_t read_record(codec_reader_t *reader, const audit_t *audit, commit_item_t *item)
{
    size_t begin = reader->at;
    record_t *record = &item->entry.record;
    result_t r = codec_next(reader, &record_table, record);
    if (r != RESULT_OK)
        return RESULT_INVALID;
    if (!entry_is_valid(record) || (record->stats.data && !is_json(record->stats)))
        return RESULT_INVALID;
    item->encoded = (slice_t){reader->frame.data + begin, reader->at - begin};
    item->entry.node = audit->node;
    item->entry.service = audit->service;
    item->passes = entry_passes_through(record->topic);
    return RESULT_OK;
}

/* All of the message, or nothing: exactly as many as it says. */
static result_t read_records(commit_t *commit, const audit_t *audit, slice_t frame)
{
    codec_reader_t reader;
    codec_reader_init(&reader, frame);
    size_t before = commit->n_items;
    result_t r = RESULT_OK;
    for (int64_t i = 0; i < audit->count && r == RESULT_OK; i++)
        r = read_record(&reader, audit, commit_add(commit));
    if (r == RESULT_OK && reader.at != frame.size)
        r = RESULT_INVALID;
    if (r != RESULT_OK)
        commit_remove(commit, before, commit->n_items - before);
    return r;
}

/* Before what came with the same message: that is where the lost ones were. */
static void add_gap(commit_t *commit, size_t at, const audit_t *audit, int64_t lost,
                    int64_t wall_ms)
{
    record_t gap = {.topic = SLICE("stage.audit_gap"), .at_ms = wall_ms, .count = lost};
    commit_add_own(commit, audit->node, audit->service, &gap);
    commit_item_t item = commit->items[commit->n_items - 1];
    memmove(commit->items + at + 1, commit->items + at,
            (commit->n_items - 1 - at) * sizeof *commit->items);
    commit->items[at] = item;
}

/* Durable records that history has under an earlier boot of the stage are taken out. */
static void skip_known(commit_t *commit, size_t from, marks_node_t *node)
{
    size_t kept = from;
    for (size_t i = from; i < commit->n_items; i++) {
        int64_t origin = commit->items[i].entry.record.origin;
        if (origin == 0 || marks_take_origin(node, origin))
            commit->items[kept++] = commit->items[i];
    }
    commit_remove(commit, kept, commit->n_items - kept);
}

/* The bytes are kept from before the records are read: they borrow from them. */
static result_t take(marks_t *marks, commit_t *commit, const audit_t *audit, slice_t records,
                     int64_t wall_ms, int64_t mono_ms)
{
    marks_verdict_t verdict;
    size_t first = commit->n_items;
    result_t r = read_records(commit, audit, records);
    if (r != RESULT_OK)
        return r;
    r = marks_offer(marks, audit, wall_ms, mono_ms, &verdict);
    if (r != RESULT_OK) {
        commit_remove(commit, first, commit->n_items - first);
        return r;
    }
    commit_remove(commit, first, (size_t)verdict.skip);
    skip_known(commit, first, verdict.node);
    if (verdict.lost)
        add_gap(commit, first, audit, verdict.lost, wall_ms);
    return RESULT_OK;
}

result_t intake_message(marks_t *marks, commit_t *commit, zmsg_t **msg_ref, int64_t wall_ms,
                        int64_t mono_ms, fault_t *fault)
{
    AUTO(zmsg) msg = TAKE(*msg_ref);
    AUTO(zframe) topic = zmsg_pop(msg); /* routed it here; the head names the node too */
    AUTO(zframe) head = zmsg_pop(msg);
    AUTO(zframe) body = zmsg_pop(msg);
    audit_t audit;
    (void)topic;
    if (!body || zmsg_size(msg) > 0)
        return fault_set(fault, RESULT_INVALID, "a message of other than three frames");
    if (codec_decode(frame_slice(head), &audit_table, &audit) != RESULT_OK)
        return fault_set(fault, RESULT_INVALID, "a malformed head");
    slice_t records = frame_slice(body);
    size_t before = commit->n_items;
    result_t r = take(marks, commit, &audit, records, wall_ms, mono_ms);
    if (r != RESULT_OK)
        return fault_set(fault, r, "node %.*s of service %.*s: %s", SLICE_ARG(audit.node),
                         SLICE_ARG(audit.service),
                         r == RESULT_INVALID ? "malformed records" : "too many stages");
    if (commit->n_items > before) {
        commit_keep(commit, &head);
        commit_keep(commit, &body);
    }
    return RESULT_OK;
}
