#include "services/deliverer/incoming.h"
#include "common/base/mem.h"
#include "common/base/ulid.h"
#include "common/wire/codec.h"
#include "services/deliverer/custody.h"

#include <stdlib.h>

void incoming_release(incoming_t *incoming)
{
    free(incoming->events);
    free(incoming->targets);
    *incoming = (incoming_t){.n_events = 0};
}

static bool node_valid(slice_t node)
{
    if (node.size == 0 || node.size > CUSTODY_NODE_MAX)
        return false;
    for (size_t i = 0; i < node.size; i++)
        if (node.data[i] <= ' ' || node.data[i] > '~')
            return false;
    return true;
}

static result_t read_batch(incoming_t *incoming, slice_t frame, fault_t *fault)
{
    ulid_t id;
    const batch_t *batch = &incoming->batch;
    if (codec_decode(frame, &batch_table, &incoming->batch) != RESULT_OK)
        return fault_set(fault, RESULT_INVALID, "the batch frame is malformed");
    if (batch->version != BATCH_VERSION)
        return fault_set(fault, RESULT_VERSION, "batch of version %lld, this deliverer reads %d",
                         (long long)batch->version, BATCH_VERSION);
    if (!node_valid(batch->node))
        return fault_set(fault, RESULT_INVALID, "the batch has a bad node id");
    if (batch->partition < 0 || batch->partition >= PARTITIONS)
        return fault_set(fault, RESULT_INVALID, "partition %lld", (long long)batch->partition);
    if (batch->low_water.size && ulid_parse(batch->low_water, &id) != RESULT_OK)
        return fault_set(fault, RESULT_INVALID, "the batch has a bad low_water");
    return RESULT_OK;
}

static result_t read_match(incoming_t *incoming, slice_t frame, fault_t *fault)
{
    if (codec_decode(frame, &match_table, &incoming->match) != RESULT_OK)
        return fault_set(fault, RESULT_INVALID, "the match frame is malformed");
    if (incoming->match.version != MATCH_VERSION)
        return fault_set(fault, RESULT_VERSION, "match of version %lld, this deliverer reads %d",
                         (long long)incoming->match.version, MATCH_VERSION);
    return RESULT_OK;
}

/* Ids become headers and variables; neither JSON nor names have control characters. */
static result_t check_event(const event_t *event, fault_t *fault)
{
    ulid_t id;
    if (ulid_parse(event->id, &id) != RESULT_OK)
        return fault_set(fault, RESULT_INVALID, "an event has a bad id");
    if (slice_has_control(event->events_id) || slice_has_control(event->object_kind) ||
        slice_has_control(event->object_id) || slice_has_control(event->webhook_id))
        return fault_set(fault, RESULT_INVALID, "event %s has a control character in an id",
                         id.text);
    return RESULT_OK;
}

static result_t read_events(incoming_t *incoming, slice_t frame, fault_t *fault)
{
    result_t r;
    event_t event;
    codec_reader_t reader;
    codec_reader_init(&reader, frame);
    incoming->n_events = 0;
    while ((r = codec_next(&reader, &event_table, &event)) == RESULT_OK) {
        r = check_event(&event, fault);
        if (r != RESULT_OK)
            return r;
        if (incoming->n_events == incoming->events_capacity) {
            incoming->events_capacity = incoming->events_capacity * 2 + 16;
            incoming->events =
                mem_realloc(incoming->events, incoming->events_capacity * sizeof *incoming->events);
        }
        incoming->events[incoming->n_events++] = (incoming_event_t){.event = event};
    }
    if (r != RESULT_NOT_FOUND)
        return fault_set(fault, RESULT_INVALID, "the events frame is malformed");
    return RESULT_OK;
}

static result_t read_targets(incoming_t *incoming, slice_t frame, fault_t *fault)
{
    result_t r;
    target_t target;
    codec_reader_t reader;
    codec_reader_init(&reader, frame);
    incoming->n_targets = 0;
    while ((r = codec_next(&reader, &target_table, &target)) == RESULT_OK) {
        if ((uint64_t)target.event >= incoming->n_events)
            return fault_set(fault, RESULT_INVALID, "a target names no event of the message");
        if (target.handler_id <= 0)
            return fault_set(fault, RESULT_INVALID, "a target names no handler");
        if (incoming->n_targets == incoming->targets_capacity) {
            incoming->targets_capacity = incoming->targets_capacity * 2 + 16;
            incoming->targets = mem_realloc(incoming->targets,
                                            incoming->targets_capacity * sizeof *incoming->targets);
        }
        incoming->targets[incoming->n_targets++] = target;
    }
    if (r != RESULT_NOT_FOUND)
        return fault_set(fault, RESULT_INVALID, "the targets frame is malformed");
    return RESULT_OK;
}

static int by_event_and_handler(const void *a, const void *b)
{
    const target_t *x = a;
    const target_t *y = b;
    if (x->event != y->event)
        return x->event < y->event ? -1 : 1;
    if (x->handler_id != y->handler_id)
        return x->handler_id < y->handler_id ? -1 : 1;
    return 0;
}

/* Sorts the targets, takes out those that stand twice, and tells each event which are its own. */
static void group_targets(incoming_t *incoming)
{
    size_t kept = 0;
    target_t *targets = incoming->targets;
    if (incoming->n_targets)
        qsort(targets, incoming->n_targets, sizeof *targets, by_event_and_handler);
    for (size_t i = 0; i < incoming->n_targets; i++) {
        if (kept && by_event_and_handler(&targets[kept - 1], &targets[i]) == 0)
            continue;
        incoming_event_t *event = &incoming->events[targets[i].event];
        if (event->n++ == 0)
            event->first = kept;
        targets[kept++] = targets[i];
    }
    incoming->n_targets = kept;
}

result_t incoming_decode(incoming_t *incoming, const slice_t frames[static INCOMING_FRAMES],
                         fault_t *fault)
{
    result_t r = read_batch(incoming, frames[0], fault);
    if (r == RESULT_OK)
        r = read_match(incoming, frames[2], fault);
    if (r == RESULT_OK)
        r = read_events(incoming, frames[1], fault);
    if (r == RESULT_OK)
        r = read_targets(incoming, frames[3], fault);
    if (r == RESULT_OK)
        group_targets(incoming);
    return r;
}
