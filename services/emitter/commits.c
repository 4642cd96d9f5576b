#include "common/base/clk.h"
#include "common/base/crash.h"
#include "services/emitter/emitter_self.h"

enum {
    WRITES_WAIT_MS = 20,   /* deletions and receipts wait for a commit of events that long */
    WRITES_WAIT_MAX = 512, /* or until there are so many */
    READ_RETRY_MS = 100,
};

/* ---- Handing over ----------------------------------------------------------------------- */

static void note_writes(emitter_t *self)
{
    bool writes = self->next->n_deletes > 0 || self->next->n_receipts > 0;
    if (!writes)
        self->writes_ms = 0;
    else if (self->writes_ms == 0)
        self->writes_ms = clk_mono_ms();
}

/* Deletions ride along with the next events; only when none come they get a commit of their own. */
static bool writes_are_due(const emitter_t *self)
{
    if (self->writes_ms == 0)
        return false;
    return self->draining || self->next->n_deletes + self->next->n_receipts >= WRITES_WAIT_MAX ||
           clk_mono_ms() - self->writes_ms >= WRITES_WAIT_MS;
}

static void submit(emitter_t *self)
{
    self->current = self->next;
    self->next = self->spare ? self->spare : commit_new();
    self->spare = NULL;
    self->writes_ms = 0;
    commit_seal(self->current);
    writer_submit(self->writer, self->current);
}

/* Only refusals and busy answers: there is nothing to commit before they leave. */
static void answer_without_commit(emitter_t *self)
{
    answers_send(self, self->next);
    commit_clear_requests(self->next);
}

static void hand_over(emitter_t *self)
{
    note_writes(self);
    if (!writer_idle(self->writer))
        return;
    if (self->next->n_events > 0 || writes_are_due(self))
        submit(self);
    else
        answer_without_commit(self);
}

/* ---- After a commit --------------------------------------------------------------------- */

static void count(emitter_t *self, const commit_t *commit)
{
    self->counts.commits++;
    for (size_t i = 0; i < commit->n_entries; i++) {
        const entry_t *entry = &commit->entries[i];
        if (!entry->is_event)
            continue;
        bool accepted = entry->answer.status == ANSWER_ACCEPTED;
        self->counts.accepted += accepted;
        self->counts.replayed += accepted && entry->source == SOURCE_REPLAY;
        self->counts.duplicate += entry->answer.status == ANSWER_DUPLICATE;
        self->counts.rejected += entry->answer.status == ANSWER_REJECTED;
    }
}

static void add_outgoing(emitter_t *self, const commit_t *commit)
{
    for (size_t i = 0; i < commit->n_entries; i++) {
        const entry_t *entry = &commit->entries[i];
        if (!entry->is_event || entry->answer.status != ANSWER_ACCEPTED)
            continue;
        outgoing_event_t event = {
            .seq = entry->seq,
            .id = entry->answer.id,
            .object = entry->object,
            .frame = {commit->frames.data + entry->frame_at, entry->frame_size}};
        outgoing_add(self->outgoing, &event);
    }
}

static result_t apply(void *owner, db_t *db, void *batch, fault_t *fault)
{
    (void)fault;
    emitter_t *self = owner;
    return journal_apply(self->journal, db, batch);
}

static void done(void *owner, void *batch)
{
    emitter_t *self = owner;
    commit_t *commit = batch;
    CRASH_POINT("emitter.committed");
    journal_committed(self->journal, commit);
    answers_send(self, commit);
    CRASH_POINT("emitter.answered");
    count(self, commit);
    add_outgoing(self, commit);
    recording_committed(self, commit);
    recording_stored(self, commit);
    commit_clear(commit);
    self->spare = commit;
    self->current = NULL;
    emitter_turn(self);
}

static void on_full(void *owner, const char *why)
{
    emitter_t *self = owner;
    self->disk_full = why != NULL;
    snprintf(self->disk_why, sizeof self->disk_why, "%s", why ? why : "");
    self->disk_checked_ms = 0;
    inputs_check_disk(self);
    if (why)
        log_line(service_log(self->service), LEVEL_ERROR,
                 "event=store_unwritable store=journal error=\"%s\" next=\"answers busy; the same "
                 "commit is tried each second\"",
                 why);
    else
        log_line(service_log(self->service), LEVEL_INFO, "event=store_writable store=journal");
    emitter_turn(self);
}

static void on_failed(void *owner, result_t result, const char *text)
{
    emitter_t *self = owner;
    service_fail(self->service, "journal: %s: %s", result_str(result), text);
}

const writer_calls_t emitter_writer_calls = {apply, done, on_full, on_failed};

bool emitter_is_idle(const emitter_t *self)
{
    return !self->current && !commit_writes(self->next) && self->next->n_requests == 0;
}

/* ---- The turn --------------------------------------------------------------------------- */

static int on_timer(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    emitter_t *self = arg;
    self->timer = -1;
    if (inputs_due_ms(self) >= 0)
        inputs_check_disk(self);
    emitter_turn(self);
    return 0;
}

static int64_t earlier(int64_t a_ms, int64_t b_ms)
{
    if (a_ms < 0 || b_ms < 0)
        return a_ms < 0 ? b_ms : a_ms;
    return a_ms < b_ms ? a_ms : b_ms;
}

static int64_t due_ms(const emitter_t *self)
{
    int64_t due = earlier(sending_due_ms(self), inputs_due_ms(self));
    if (self->writes_ms && !self->current)
        due = earlier(due, self->writes_ms + WRITES_WAIT_MS);
    if (recording_is_due(self))
        due = 0;
    if (self->read_again_ms)
        due = earlier(due, self->read_again_ms);
    return due;
}

/* The timer may fire too early, never too late: it is only moved forward. */
static void arm_timer(emitter_t *self)
{
    int64_t due = due_ms(self);
    if (due < 0 || (self->timer >= 0 && self->timer_due_ms <= due))
        return;
    if (self->timer >= 0)
        zloop_timer_end(self->loop, self->timer);
    int64_t now_ms = clk_mono_ms();
    self->timer_due_ms = due;
    self->timer =
        zloop_timer(self->loop, due > now_ms ? (size_t)(due - now_ms) : 0, 1, on_timer, self);
}

void emitter_turn(emitter_t *self)
{
    if (self->read_again_ms && self->read_again_ms <= clk_mono_ms())
        self->read_again_ms = 0;
    recording_turn(self);
    hand_over(self);
    sending_turn(self);
    inputs_update(self);
    arm_timer(self);
}

void emitter_read_failed(emitter_t *self, result_t result)
{
    if (result == RESULT_AGAIN || result == RESULT_FULL)
        self->read_again_ms = clk_mono_ms() + READ_RETRY_MS;
    else
        service_fail(self->service, "journal: %s: %s", result_str(result),
                     journal_read_error(self->journal));
}
