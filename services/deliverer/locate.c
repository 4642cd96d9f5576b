#include "services/deliverer/locate.h"
#include "common/base/ulid.h"

static bool find_in_commit(const commit_t *commit, slice_t event_id, locate_event_t *ret_event)
{
    for (size_t i = 0; commit && i < commit->n_events; i++) {
        const commit_event_t *event = &commit->events[i];
        if (!slice_equal(event->event->id, event_id))
            continue;
        *ret_event = (locate_event_t){event->entry->seq, event->entry, commit, event};
        return true;
    }
    return false;
}

result_t locate_event(const deliverer_t *d, slice_t event_id, locate_event_t *ret_event)
{
    int64_t seq = 0;
    if (find_in_commit(d->running, event_id, ret_event) ||
        find_in_commit(d->next, event_id, ret_event))
        return RESULT_OK;
    result_t r = backlog_find_event(d->backlog, event_id, &seq);
    if (r == RESULT_OK)
        *ret_event = (locate_event_t){.seq = seq};
    return r;
}

static const queue_delivery_t *row_at(const locate_event_t *event, size_t i)
{
    return &event->commit->deliveries[event->event->first + i];
}

result_t locate_handlers(const deliverer_t *d, const locate_event_t *event,
                         int64_t ret_ids[static LOCATE_HANDLERS_MAX], size_t *ret_n)
{
    size_t n = 0;
    if (!event->entry)
        return backlog_event_handlers(d->backlog, event->seq, LOCATE_HANDLERS_MAX, ret_ids, ret_n);
    for (size_t i = 0; i < event->event->n && n < LOCATE_HANDLERS_MAX; i++)
        if (row_at(event, i)->handler_id)
            ret_ids[n++] = row_at(event, i)->handler_id;
    *ret_n = n;
    return RESULT_OK;
}

result_t locate_delivery(const deliverer_t *d, const locate_event_t *event, int64_t handler_id,
                         queue_delivery_t *ret_delivery, int64_t *ret_before)
{
    void *flight = NULL;
    if (busy_find(d->busy, event->seq, handler_id, &flight) && !flight)
        return RESULT_NOT_FOUND;
    if (!event->entry)
        return backlog_delivery(d->backlog, event->seq, handler_id, ret_delivery, ret_before);
    for (size_t i = 0; i < event->event->n; i++)
        if (row_at(event, i)->handler_id == handler_id) {
            *ret_delivery = *row_at(event, i);
            *ret_before = 0;
            return RESULT_OK;
        }
    return RESULT_NOT_FOUND;
}

result_t locate_parse(slice_t delivery_id, slice_t *ret_event_id, int64_t *ret_handler_id)
{
    ulid_t id;
    int64_t handler_id = 0;
    slice_t event_id = {delivery_id.data, ULID_SIZE};
    if (delivery_id.size < ULID_SIZE + 2 || delivery_id.size > ULID_SIZE + 1 + 18 ||
        delivery_id.data[ULID_SIZE] != '-' || ulid_parse(event_id, &id) != RESULT_OK)
        return RESULT_INVALID;
    for (size_t i = ULID_SIZE + 1; i < delivery_id.size; i++) {
        if (delivery_id.data[i] < '0' || delivery_id.data[i] > '9')
            return RESULT_INVALID;
        handler_id = handler_id * 10 + (delivery_id.data[i] - '0');
    }
    *ret_event_id = event_id;
    *ret_handler_id = handler_id;
    return RESULT_OK;
}

static int64_t count_in_commit(const commit_t *commit, int64_t handler_id, uint64_t object)
{
    int64_t n = 0;
    for (size_t i = 0; commit && i < commit->n_deliveries; i++)
        n += commit->deliveries[i].handler_id == handler_id &&
             commit->deliveries[i].object == object;
    return n;
}

result_t locate_lane_count(const deliverer_t *d, int64_t handler_id, uint64_t object,
                           int64_t *ret_count)
{
    int64_t stored = 0; /* what the writer is committing may be there already, or not yet */
    result_t r = backlog_lane_count(d->backlog, handler_id, object, d->committed_seq, &stored);
    if (r == RESULT_OK)
        *ret_count = stored + count_in_commit(d->running, handler_id, object) +
                     count_in_commit(d->next, handler_id, object);
    return r;
}
