#include "services/deliverer/commit.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/wire/codec.h"

/* Of one row of the outbox: what is read again when the auditor takes only a part of it. */
enum { ROW_RECORDS = 256, ROW_BYTES = 256 * 1024 };

/* Room for one more at the end of an array of the batch. */
#define ADD(commit, array, n, capacity)                                                            \
    ({                                                                                             \
        if ((commit)->n == (commit)->capacity) {                                                   \
            (commit)->capacity = (commit)->capacity * 2 + 8;                                       \
            (commit)->array =                                                                      \
                mem_realloc((commit)->array, (commit)->capacity * sizeof *(commit)->array);        \
        }                                                                                          \
        touch(commit, sizeof *(commit)->array);                                                    \
        &(commit)->array[(commit)->n++];                                                           \
    })

static void touch(commit_t *commit, size_t bytes)
{
    if (!commit->began_ms)
        commit->began_ms = clk_mono_ms();
    commit->bytes += (int64_t)bytes;
}

commit_t *commit_new(void)
{
    return MEM_NEW(commit_t);
}

void commit_destroy(commit_t **commit, cache_t *cache)
{
    if (!*commit)
        return;
    for (size_t i = 0; i < (*commit)->n_events; i++) {
        cache_entry_t *entry = (*commit)->events[i].entry;
        cache_unuse(cache, entry);
        cache_unref(cache, entry);
    }
    free((*commit)->events);
    free((*commit)->deliveries);
    for (size_t i = 0; i < (*commit)->n_known; i++)
        buf_release(&(*commit)->known[i].ids);
    free((*commit)->known);
    free((*commit)->outcomes);
    free((*commit)->low_waters);
    free((*commit)->failing);
    free((*commit)->cancels);
    buf_release(&(*commit)->records);
    free(TAKE(*commit));
}

bool commit_empty(const commit_t *commit)
{
    return !commit->n_events && !commit->n_outcomes && !commit->n_low_waters &&
           !commit->n_failing && !commit->n_cancels && !commit->settle_seq && !commit->test_boot;
}

/* Events of a source come one behind the other. */
static commit_known_t *known_of(commit_t *commit, slice_t node, int partition)
{
    for (size_t i = commit->n_known; i-- > 0;)
        if (commit->known[i].partition == partition && slice_is(node, commit->known[i].node))
            return &commit->known[i];
    commit_known_t *known = ADD(commit, known, n_known, known_capacity);
    *known = (commit_known_t){.partition = partition};
    memcpy(known->node, node.data, node.size);
    return known;
}

static void add_known(commit_t *commit, slice_t node, int partition, slice_t id, bool unmatched)
{
    ENSURE(id.size == ULID_SIZE);
    commit_known_t *known = known_of(commit, node, partition);
    buf_add_slice(&known->ids, id);
    buf_add_char(&known->ids, unmatched ? '1' : '0');
    if (memcmp(id.data, known->last_id.text, ULID_SIZE) > 0)
        memcpy(known->last_id.text, id.data, ULID_SIZE);
    touch(commit, QUEUE_KNOWN_SIZE);
}

void commit_custody(commit_t *commit, cache_entry_t *entry, slice_t node, int partition,
                    bool unmatched)
{
    ENSURE(node.size <= CUSTODY_NODE_MAX);
    commit_event_t *event = ADD(commit, events, n_events, events_capacity);
    cache_ref(entry);
    *event = (commit_event_t){.entry = entry,
                              .event = cache_use(entry),
                              .partition = partition,
                              .unmatched = unmatched,
                              .first = commit->n_deliveries};
    ENSURE(event->event);
    memcpy(event->node, node.data, node.size);
    entry->place = (int64_t)commit->n_events - 1;
    add_known(commit, node, partition, event->event->id, unmatched);
    touch(commit, (size_t)cache_entry_bytes(entry));
}

void commit_delivery(commit_t *commit, const queue_delivery_t *delivery)
{
    *ADD(commit, deliveries, n_deliveries, deliveries_capacity) = *delivery;
    commit->events[commit->n_events - 1].n++;
}

void commit_soon(commit_t *commit, size_t n)
{
    commit->n_soon += n;
    commit->soon_left += n;
}

/* The delivery's row in this batch; NULL: the event is not in it. */
static queue_delivery_t *find_row(commit_t *commit, const cache_entry_t *entry, int64_t handler_id)
{
    if (!entry || entry->place < 0)
        return NULL;
    const commit_event_t *event = &commit->events[entry->place];
    for (size_t i = event->first; i < event->first + event->n; i++)
        if (commit->deliveries[i].handler_id == handler_id)
            return &commit->deliveries[i];
    PANIC("delivery to handler %lld is not in its event's batch", (long long)handler_id);
}

static commit_change_t change_of(commit_t *commit, const cache_entry_t *entry,
                                 const queue_delivery_t *delivery, bool final, bool has_row)
{
    queue_delivery_t *row = has_row ? find_row(commit, entry, delivery->handler_id) : NULL;
    if (!has_row)
        return COMMIT_RECORD;
    if (!row)
        return final ? COMMIT_FINISH : COMMIT_RETRY;
    commit->soon_left -= commit->soon_left > 0 && row->attempts == 0;
    if (final)
        row->handler_id = 0;
    else
        *row = *delivery;
    return COMMIT_RECORD;
}

void commit_outcome(commit_t *commit, const cache_entry_t *entry, const queue_delivery_t *delivery,
                    bool final, bool has_row, int64_t outbox_seq, const record_t *record)
{
    commit_outcome_t outcome = {.change = change_of(commit, entry, delivery, final, has_row),
                                .final = final,
                                .delivery = *delivery,
                                .outbox_seq = outbox_seq,
                                .record = commit->records.size};
    codec_add(&record_table, record, &commit->records);
    outcome.record_size = commit->records.size - outcome.record;
    touch(commit, outcome.record_size);
    *ADD(commit, outcomes, n_outcomes, outcomes_capacity) = outcome;
}

slice_t commit_record(const commit_t *commit, const commit_outcome_t *outcome)
{
    return (slice_t){commit->records.data + outcome->record, outcome->record_size};
}

void commit_low_water(commit_t *commit, slice_t node, int partition, const ulid_t *id)
{
    for (size_t i = commit->n_low_waters; i-- > 0;) {
        commit_low_water_t *before = &commit->low_waters[i];
        if (before->partition == partition && slice_is(node, before->node)) {
            before->id = *id;
            return;
        }
    }
    ENSURE(node.size <= CUSTODY_NODE_MAX);
    commit_low_water_t *added = ADD(commit, low_waters, n_low_waters, low_waters_capacity);
    *added = (commit_low_water_t){.partition = partition, .id = *id};
    memcpy(added->node, node.data, node.size);
}

void commit_failing(commit_t *commit, int64_t handler_id, int64_t since_ms)
{
    *ADD(commit, failing, n_failing, failing_capacity) = (commit_failing_t){handler_id, since_ms};
}

void commit_cancel(commit_t *commit, const queue_cancel_t *cancel)
{
    *ADD(commit, cancels, n_cancels, cancels_capacity) = (commit_cancel_t){*cancel, false};
}

void commit_cancel_done(commit_t *commit, int64_t id)
{
    *ADD(commit, cancels, n_cancels, cancels_capacity) = (commit_cancel_t){{.id = id}, true};
}

void commit_seal(commit_t *commit)
{
    for (size_t i = 0; i < commit->n_events; i++) {
        commit_event_t *event = &commit->events[i];
        event->entry->place = -1;
        for (size_t d = event->first; d < event->first + event->n; d++)
            event->left += commit->deliveries[d].handler_id != 0;
    }
}

static result_t apply_event(const commit_t *commit, const commit_event_t *event, db_t *db)
{
    if (!event->left)
        return RESULT_OK;
    result_t r = queue_put_event(db, event->entry->seq, event->event, slice_of(event->node),
                                 event->partition);
    for (size_t i = event->first; i < event->first + event->n && r == RESULT_OK; i++)
        if (commit->deliveries[i].handler_id)
            r = queue_put_delivery(db, &commit->deliveries[i]);
    return r;
}

static result_t apply_known(const commit_t *commit, db_t *db)
{
    result_t r = RESULT_OK;
    for (size_t i = 0; i < commit->n_known && r == RESULT_OK; i++) {
        const commit_known_t *known = &commit->known[i];
        r = queue_put_known(db, slice_of(known->node), known->partition, &known->last_id,
                            buf_slice(&known->ids));
    }
    return r;
}

static result_t apply_outcome(const commit_outcome_t *outcome, db_t *db)
{
    if (outcome->change == COMMIT_FINISH)
        return queue_finish(db, outcome->delivery.seq, outcome->delivery.handler_id);
    return outcome->change == COMMIT_RETRY ? queue_retry(db, &outcome->delivery) : RESULT_OK;
}

/* The records of the outcomes from i on that go into one row; *i becomes the first of the next. */
static result_t apply_records(const commit_t *commit, db_t *db, size_t *i)
{
    const commit_outcome_t *first = &commit->outcomes[*i], *last = first;
    size_t bytes = first->record_size, n = 1;
    while (*i + n < commit->n_outcomes && n < ROW_RECORDS && bytes < ROW_BYTES) {
        last = first + n++;
        bytes += last->record_size;
    }
    *i += n;
    return queue_put_outbox(db, last->outbox_seq, (int64_t)n,
                            (slice_t){commit->records.data + first->record, bytes});
}

static result_t apply_outcomes(const commit_t *commit, db_t *db)
{
    result_t r = RESULT_OK;
    for (size_t i = 0; i < commit->n_outcomes && r == RESULT_OK; i++)
        r = apply_outcome(&commit->outcomes[i], db);
    for (size_t i = 0; i < commit->n_outcomes && r == RESULT_OK;)
        r = apply_records(commit, db, &i);
    if (commit->n_outcomes && r == RESULT_OK)
        r = queue_set_outbox_last(db, commit->outcomes[commit->n_outcomes - 1].outbox_seq);
    return r;
}

static result_t apply_cancels(const commit_t *commit, db_t *db)
{
    result_t r = RESULT_OK;
    for (size_t i = 0; i < commit->n_cancels && r == RESULT_OK; i++)
        r = commit->cancels[i].done ? queue_end_cancel(db, commit->cancels[i].cancel.id)
                                    : queue_put_cancel(db, &commit->cancels[i].cancel);
    return r;
}

static result_t apply_rest(const commit_t *commit, db_t *db)
{
    result_t r = RESULT_OK;
    for (size_t i = 0; i < commit->n_low_waters && r == RESULT_OK; i++) {
        const commit_low_water_t *raised = &commit->low_waters[i];
        r = queue_raise_low_water(db, slice_of(raised->node), raised->partition,
                                  slice_of(raised->id.text));
    }
    for (size_t i = 0; i < commit->n_failing && r == RESULT_OK; i++)
        r = queue_set_failing(db, commit->failing[i].handler_id, commit->failing[i].since_ms);
    if (r == RESULT_OK)
        r = apply_cancels(commit, db);
    if (commit->settle_seq && r == RESULT_OK)
        r = queue_settle_outbox(db, commit->settle_seq);
    if (commit->table_version && r == RESULT_OK)
        r = queue_set_table_version(db, commit->table_version);
    if (commit->test_boot && r == RESULT_OK)
        r = queue_test_write(db, commit->test_boot);
    return r;
}

result_t commit_apply(const commit_t *commit, db_t *db)
{
    result_t r = RESULT_OK;
    for (size_t i = 0; i < commit->n_events && r == RESULT_OK; i++)
        r = apply_event(commit, &commit->events[i], db);
    if (r == RESULT_OK)
        r = apply_known(commit, db);
    if (r == RESULT_OK)
        r = apply_outcomes(commit, db);
    return r == RESULT_OK ? apply_rest(commit, db) : r;
}
