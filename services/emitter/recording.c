#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/wire/codec.h"
#include "common/wire/object.h"
#include "services/emitter/emitter_self.h"

enum {
    BODY_MAX = 4096,            /* of a refused event, that is kept */
    CURSOR_ROWS = 256,          /* rows in one turn of the loop */
    CURSOR_BYTES = 1024 * 1024, /* of them */
};

/* ---- Best effort ------------------------------------------------------------------------ */

void recording_rejected(emitter_t *self, source_t source, const intake_error_t *error, slice_t body)
{
    record_t record = {.topic = SLICE("event.rejected"),
                       .at_ms = clk_wall_ms(),
                       .code = slice_of(intake_code_str(error->code)),
                       .path = error->path,
                       .message = error->message,
                       .source = slice_of(source_str(source)),
                       .body = {body.data, body.size < BODY_MAX ? body.size : BODY_MAX}};
    (void)audit_add(self->audit, &record);
}

static void add_decided(emitter_t *self, const entry_t *entry)
{
    bool is_duplicate = entry->answer.status == ANSWER_DUPLICATE;
    if (!is_duplicate && entry->source == SOURCE_PUSH) {
        recording_rejected(self, entry->source, &entry->answer.error, entry->body);
        return;
    }
    record_t record = {.topic = is_duplicate ? SLICE("event.duplicate") : SLICE("event.rejected"),
                       .at_ms = clk_wall_ms(),
                       .events_id = entry->events_id,
                       .object_kind = entry->object_kind,
                       .object_id = entry->object_id,
                       .source = slice_of(source_str(entry->source)),
                       .idempotency_key = entry->key};
    if (is_duplicate) {
        record.event_id = slice_of(entry->answer.id.text);
    } else {
        record.code = slice_of(intake_code_str(entry->answer.error.code));
        record.path = entry->answer.error.path;
        record.message = entry->answer.error.message;
    }
    (void)audit_add(self->audit, &record);
}

/* ---- Unmatched -------------------------------------------------------------------------- */

/* Not by the way of best effort: the row waits until the auditor has it. */
static void add_unmatched(emitter_t *self, int64_t seq, slice_t frame)
{
    event_t event;
    if (unmatched_is_ahead(&self->unmatched, seq))
        return;
    if (!audit_room(self->audit)) {
        unmatched_wait(&self->unmatched, seq);
        return;
    }
    if (codec_decode(frame, &event_table, &event) != RESULT_OK)
        PANIC("row %lld of the journal holds no event", (long long)seq);
    record_t record = {.topic = SLICE("event.unmatched"),
                       .at_ms = clk_wall_ms(),
                       .event_id = event.id,
                       .webhook_id = event.webhook_id,
                       .events_id = event.events_id,
                       .object_kind = event.object_kind,
                       .object_id = event.object_id,
                       .accepted_ms = event.accepted_ms,
                       .replay = event.replay,
                       .replay_handler = event.replay_handler};
    settle_unmatched(self->settle, seq, audit_add(self->audit, &record));
}

/* ---- Accepted --------------------------------------------------------------------------- */

static void add_accepted(emitter_t *self, const journal_row_t *row)
{
    event_t event;
    if (codec_decode(row->frame, &event_table, &event) != RESULT_OK)
        PANIC("row %lld of the journal holds no event", (long long)row->seq);
    record_t record = {.topic = SLICE("event.accepted"),
                       .at_ms = event.accepted_ms,
                       .origin = row->seq,
                       .event_id = event.id,
                       .webhook_id = event.webhook_id,
                       .events_id = event.events_id,
                       .object_kind = event.object_kind,
                       .object_id = event.object_id,
                       .body = event.body,
                       .accepted_ms = event.accepted_ms,
                       .replay = event.replay,
                       .replay_handler = event.replay_handler,
                       .source = slice_of(source_str(row->source)),
                       .idempotency_key = row->key};
    int64_t number = audit_add(self->audit, &record);
    if (settle_accepted(self->settle, row->seq, number, row->receipt) == SETTLE_UNMATCHED)
        add_unmatched(self, row->seq, row->frame);
}

/* A receipt may be on its way into the row, behind what this read sees. */
static receipt_kind_t receipt_of(emitter_t *self, const journal_row_t *row)
{
    if (row->receipt != RECEIPT_NONE)
        return row->receipt;
    receipt_kind_t receipt = commit_find_receipt(self->next, row->seq);
    if (receipt == RECEIPT_NONE && self->current)
        receipt = commit_find_receipt(self->current, row->seq);
    return receipt;
}

void recording_committed(emitter_t *self, const commit_t *commit)
{
    for (size_t i = 0; i < commit->n_entries; i++) {
        const entry_t *entry = &commit->entries[i];
        if (!entry->is_event)
            continue;
        if (entry->answer.status != ANSWER_ACCEPTED) {
            add_decided(self, entry);
            continue;
        }
        self->audit_behind = self->audit_behind || !audit_room(self->audit);
        if (self->audit_behind || entry->seq <= settle_last(self->settle))
            continue; /* the cursor comes to it, or was there already */
        journal_row_t row = {entry->seq,
                             entry->source,
                             entry->key,
                             RECEIPT_NONE,
                             {commit->frames.data + entry->frame_at, entry->frame_size}};
        row.receipt = receipt_of(self, &row);
        add_accepted(self, &row);
    }
}

/* ---- The cursor ------------------------------------------------------------------------- */

typedef struct {
    emitter_t *self;
    size_t bytes;
} cursor_t;

static bool take_row(void *owner, const journal_row_t *row)
{
    cursor_t *cursor = owner;
    emitter_t *self = cursor->self;
    if (!audit_room(self->audit) || cursor->bytes > CURSOR_BYTES)
        return false;
    journal_row_t known = *row;
    known.receipt = receipt_of(self, row);
    add_accepted(self, &known);
    cursor->bytes += row->frame.size;
    return true;
}

static bool take_unmatched(void *owner, const journal_row_t *row)
{
    add_unmatched(owner, row->seq, row->frame);
    return true;
}

static result_t retry_unmatched(emitter_t *self)
{
    unmatched_t *unmatched = &self->unmatched;
    result_t r = RESULT_OK;
    for (int i = 0;
         i < CURSOR_ROWS && unmatched->n > 0 && audit_room(self->audit) && r == RESULT_OK; i++) {
        int64_t seq = unmatched->seqs[unmatched->n - 1];
        bool ended;
        r = journal_read_rows(self->journal, seq - 1, 1, take_unmatched, self, &ended);
        unmatched->n -= r == RESULT_OK;
    }
    return r;
}

/* The auditor has its records; the row is still there until a commit is done. */
static bool is_settled(emitter_t *self, int64_t seq)
{
    return commit_has_delete(self->next, seq) ||
           (self->current && commit_has_delete(self->current, seq));
}

static bool take_again(void *owner, const journal_row_t *row)
{
    cursor_t *cursor = owner;
    emitter_t *self = cursor->self;
    if (row->seq > settle_last(self->settle)) { /* the cursor comes to those */
        unmatched_ended(&self->unmatched);
        return false;
    }
    if (!audit_room(self->audit) || cursor->bytes > CURSOR_BYTES)
        return false;
    unmatched_passed(&self->unmatched, row->seq);
    cursor->bytes += row->frame.size;
    if (receipt_of(self, row) == RECEIPT_UNMATCHED && !is_settled(self, row->seq))
        add_unmatched(self, row->seq, row->frame);
    return true;
}

static bool reads_again(const emitter_t *self)
{
    return self->unmatched.again_from > 0 &&
           (self->unmatched.reading || settle_unmatched_size(self->settle) == 0);
}

static result_t read_unmatched(emitter_t *self)
{
    cursor_t cursor = {.self = self};
    bool ended = false;
    result_t r = journal_read_rows(self->journal, self->unmatched.again_from - 1, CURSOR_ROWS,
                                   take_again, &cursor, &ended);
    if (ended)
        unmatched_ended(&self->unmatched);
    return r;
}

static result_t read_accepted(emitter_t *self)
{
    cursor_t cursor = {.self = self};
    bool ended = false;
    result_t r = journal_read_rows(self->journal, settle_last(self->settle), CURSOR_ROWS, take_row,
                                   &cursor, &ended);
    if (ended)
        self->audit_behind = false;
    return r;
}

/* Not while the disk is full: the rows that may go would wait in memory, as many as there are. */
bool recording_is_due(const emitter_t *self)
{
    return !self->disk_full && !self->read_again_ms && audit_room(self->audit) &&
           (self->audit_behind || self->unmatched.n > 0 || reads_again(self));
}

void recording_turn(emitter_t *self)
{
    if (!recording_is_due(self))
        return;
    result_t r = retry_unmatched(self);
    if (r == RESULT_OK && reads_again(self))
        r = read_unmatched(self);
    if (r == RESULT_OK && self->audit_behind)
        r = read_accepted(self);
    if (r != RESULT_OK)
        emitter_read_failed(self, r);
}

/* ---- Letting go ------------------------------------------------------------------------- */

static void store_receipt(emitter_t *self, const outgoing_event_t *event, receipt_kind_t receipt)
{
    stored_receipt_t stored = {event->seq, receipt, object_partition(event->object), event->id};
    commit_add_receipt(self->next, &stored);
}

/* That an event is unmatched is always stored: a deliverer that has forgotten it cannot say so
 * again, and after a crash the record that waits here is all there is. */
void recording_receipt(emitter_t *self, const outgoing_event_t *event, receipt_kind_t receipt)
{
    switch (settle_receipt(self->settle, event->seq, receipt)) {
    case SETTLE_WAIT:
        break;
    case SETTLE_DELETE:
        commit_add_delete(self->next, event->seq);
        break;
    case SETTLE_STORE:
        store_receipt(self, event, receipt);
        break;
    case SETTLE_UNMATCHED:
        store_receipt(self, event, receipt);
        add_unmatched(self, event->seq, event->frame);
        break;
    }
}

void recording_stored(emitter_t *self, const commit_t *commit)
{
    int64_t now_ms = clk_mono_ms();
    for (size_t i = 0; i < commit->n_receipts; i++) {
        const stored_receipt_t *stored = &commit->receipts[i];
        if (stored->receipt == RECEIPT_UNMATCHED)
            outgoing_let_go(self->outgoing, stored->partition, &stored->id, now_ms);
    }
}

static void on_mark(void *owner, int64_t number)
{
    emitter_t *self = owner;
    int64_t seq;
    while (settle_mark(self->settle, number, &seq))
        commit_add_delete(self->next, seq);
    emitter_turn(self);
}

static void on_room(void *owner)
{
    emitter_turn(owner);
}

const audit_calls_t emitter_audit_calls = {on_mark, on_room};
