#include "services/auditor/history.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/crash.h"
#include "common/base/mem.h"
#include "common/db/writer.h"
#include "services/auditor/archive.h"
#include "services/auditor/inventory.h"
#include "services/auditor/segment.h"
#include "services/auditor/upkeep.h"

/* A boot that was silent for longer does not come back. */
static const int64_t boot_kept_ms = 7 * 86400000ll;

enum {
    TURN_AGAIN_MS = 1000,
    GATHER_RECORDS = 4096, /* a commit of so many waits for no more */
};

struct history_t {
    zloop_t *loop;
    history_settings_t settings;
    char *dir;
    const log_t *log;
    marks_t *marks;
    history_calls_t calls;
    void *owner;
    shelf_t *shelf;
    upkeep_t *upkeep;
    db_t *db; /* of the live segment; the writer's */
    writer_t *writer;
    commit_t *next;    /* collects */
    commit_t *running; /* with the writer */
    int gather_timer;  /* -1: no commit waits for more */
    int turn_timer;    /* -1: the next commit waits for no new segment */
    bool full;
    char full_why[160];
    int64_t committed_records; /* since the start */
    const commit_t *teller;    /* carries the record of a damaged segment; NULL: there is none */
    shelf_segment_t told;      /* that segment */
    shelf_segment_t sealed;    /* the one before a fresh one; first_id 0: there is none */

    /* The loop's while no commit runs, else the writer's thread's. */
    tail_t tail;          /* as of the last commit */
    tail_t written;       /* as of the one that runs */
    bool fresh;           /* nothing was committed to the live segment yet */
    marks_rows_t carried; /* what a fresh segment starts from */
    archive_t *archive;   /* to look for events in older segments */
};

/* ---- On the writer's thread ------------------------------------------------------------- */

/* An emitter says again that an event matched nothing when it was killed before it heard that
 * history knows. */
static result_t is_known_unmatched(history_t *history, db_t *db, const record_t *record,
                                   fault_t *fault)
{
    int64_t id;
    if (!slice_is(record->topic, "event.unmatched") || !record->event_id.size)
        return RESULT_NOT_FOUND;
    result_t r = segment_find(db, record->event_id, "event.unmatched", &id);
    if (r != RESULT_NOT_FOUND)
        return r;
    return archive_find(history->archive, record->event_id, "event.unmatched",
                        history->tail.span.first_id, NULL, NULL, fault);
}

static result_t write_item(history_t *history, db_t *db, commit_item_t *item, fault_t *fault)
{
    item->entry.audit_id = item->entry.prev_id = 0;
    if (item->passes)
        return RESULT_OK;
    result_t r = is_known_unmatched(history, db, &item->entry.record, fault);
    if (r != RESULT_NOT_FOUND)
        return r;
    tail_give(&history->written, &item->entry);
    return segment_add(db, &item->entry, item->encoded);
}

static result_t apply(void *owner, db_t *db, void *batch, fault_t *fault)
{
    history_t *history = owner;
    commit_t *commit = batch;
    result_t r = RESULT_OK;
    history->written = history->tail;
    if (history->fresh) /* its name must outlive a power cut before anything is in it */
        r = segment_sync_dir(history->dir, fault);
    if (r == RESULT_OK && history->fresh)
        r = segment_save_marks(db, &history->carried);
    for (size_t i = 0; i < commit->n_items && r == RESULT_OK; i++)
        r = write_item(history, db, &commit->items[i], fault);
    if (commit->handlers_seq)
        history->written.handlers_seq = commit->handlers_seq;
    if (r == RESULT_OK)
        r = segment_save_marks(db, &commit->marks);
    if (r == RESULT_OK)
        r = segment_save_tail(db, &history->written, history->fresh ? 0 : history->tail.next_id);
    archive_rest(history->archive, true); /* looked into only after an emitter's restart */
    return r;
}

/* ---- Commits ---------------------------------------------------------------------------- */

static void shelve_live(history_t *history)
{
    const tail_span_t *span = &history->tail.span;
    shelf_segment_t live = {
        .span = {.first_id = span->first_id, .created_ms = span->created_ms},
        .last_id = INT64_MAX,
        .live = true,
    };
    shelf_add(history->shelf, &live);
}

/* Only now does the new segment count: until its first commit the one before is the live one for
 * everybody else, and so it cannot be removed while it alone knows which ids were given. */
static void finish_turn(history_t *history)
{
    history->fresh = false;
    marks_rows_release(&history->carried);
    if (!history->sealed.span.first_id)
        return;
    shelf_update(history->shelf, &history->sealed);
    shelve_live(history);
    log_line(history->log, LEVEL_INFO, "event=segment_sealed first_id=%lld last_id=%lld",
             (long long)history->sealed.span.first_id, (long long)history->sealed.last_id);
    history->sealed = (shelf_segment_t){0};
}

static void done(void *owner, void *batch)
{
    history_t *history = owner;
    commit_t *commit = batch;
    history->committed_records += history->written.next_id - history->tail.next_id;
    history->tail = history->written;
    if (history->fresh)
        finish_turn(history);
    history->running = NULL;
    if (commit == history->teller) {
        history->told.told = true;
        shelf_update(history->shelf, &history->told);
        history->teller = NULL;
    }
    marks_committed(history->marks, &commit->marks);
    CRASH_POINT("auditor.committed");
    history->calls.on_committed(history->owner, commit);
    commit_destroy(&commit);
    history_kick(history);
}

static void on_full(void *owner, const char *why)
{
    history_t *history = owner;
    history->full = why != NULL;
    snprintf(history->full_why, sizeof history->full_why, "%s", why ? why : "");
    history->calls.on_full(history->owner, why);
}

static void on_failed(void *owner, result_t result, const char *text)
{
    history_t *history = owner;
    AUTO_BUF reason = {0};
    buf_printf(&reason, "history (%s): %s", result_str(result), text);
    history->calls.on_failed(history->owner, reason.data);
}

static void on_upkeep_failed(void *owner, const char *text)
{
    on_failed(owner, RESULT_IO, text);
}

static writer_t *start_writer(history_t *history)
{
    static const writer_calls_t calls = {
        .apply = apply, .done = done, .on_full = on_full, .on_failed = on_failed};
    return writer_new(history->loop, history->db, &calls, history);
}

/* ---- Segments --------------------------------------------------------------------------- */

static bool is_segment_full(const history_t *history)
{
    const tail_span_t *span = &history->tail.span;
    int64_t records = history->tail.next_id - span->first_id;
    return span->attempts >= history->settings.segment_attempts ||
           records >= history->settings.segment_records ||
           (records > 0 && clk_wall_ms() - span->created_ms >= history->settings.segment_age_ms);
}

/* Gives the prepared file its name. RESULT_FULL: it is given up, and the live segment goes on until
 * there is room for another one. RESULT_AGAIN: it has its name, but can neither be opened nor given
 * up, so nothing may be committed until one of the two succeeds. */
static result_t open_next(history_t *history, db_t **ret_db, fault_t *fault)
{
    char path[PATH_MAX];
    int64_t first_id = history->tail.next_id;
    segment_path(history->dir, first_id, path);
    if (access(path, F_OK) != 0) {
        result_t r = segment_name(history->dir, first_id, fault);
        if (r != RESULT_OK)
            return r;
    }
    CRASH_POINT("auditor.turning");
    result_t r = db_open(path, DB_WRITE, ret_db, fault);
    if (r == RESULT_FULL && segment_remove(history->dir, first_id) != RESULT_OK)
        r = RESULT_AGAIN;
    return r;
}

/* The prepared file becomes the live segment. No commit runs. */
static void turn_to(history_t *history, db_t *db)
{
    writer_destroy(&history->writer);
    upkeep_close(history->upkeep, &history->db);
    history->db = db;
    history->sealed = (shelf_segment_t){
        .span = history->tail.span,
        .last_id = history->tail.next_id - 1,
        .bytes = segment_bytes(history->dir, history->tail.span.first_id),
    };
    tail_start_segment(&history->tail, clk_wall_ms());
    marks_snapshot(history->marks, clk_wall_ms() - boot_kept_ms, &history->carried);
    history->fresh = true;
    history->writer = start_writer(history);
}

/* Not from within done: the writer cannot be ended there. */
static int on_turn(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    history_t *history = arg;
    fault_t fault = {""};
    db_t *db = NULL;
    result_t r = open_next(history, &db, &fault);
    if (r == RESULT_AGAIN) {
        history->turn_timer = zloop_timer(history->loop, TURN_AGAIN_MS, 1, on_turn, history);
        if (!history->full)
            on_full(history, fault.text);
        return 0;
    }
    if (r != RESULT_OK && r != RESULT_FULL) {
        on_failed(history, r, fault.text);
        return 0; /* nothing is committed any more */
    }
    if (history->full)
        on_full(history, NULL);
    if (r == RESULT_OK)
        turn_to(history, db);
    upkeep_used(history->upkeep);
    history->turn_timer = -1;
    history_kick(history);
    return 0;
}

/* ---- Opening ---------------------------------------------------------------------------- */

static result_t open_segments(history_t *history, fault_t *fault)
{
    inventory_t found;
    result_t r =
        inventory_take(history->dir, history->log, history->marks, history->shelf, &found, fault);
    if (r != RESULT_OK)
        return r;
    history->tail = found.tail;
    history->db = found.live;
    history->fresh = found.fresh;
    shelve_live(history);
    return RESULT_OK;
}

result_t history_open(zloop_t *loop, const history_settings_t *settings, const log_t *log,
                      marks_t *marks, const history_calls_t *calls, void *owner,
                      history_t **ret_history, fault_t *fault)
{
    history_t *history = MEM_NEW(history_t);
    *history = (history_t){.loop = loop,
                           .settings = *settings,
                           .dir = mem_strdup(settings->dir),
                           .log = log,
                           .marks = marks,
                           .calls = *calls,
                           .owner = owner,
                           .gather_timer = -1,
                           .turn_timer = -1,
                           .shelf = shelf_new(),
                           .next = commit_new()};
    result_t r = open_segments(history, fault);
    if (r != RESULT_OK) {
        history_close(&history);
        return r;
    }
    history->archive = archive_new(history->dir, history->shelf);
    history->upkeep =
        upkeep_new(loop, history->dir, history->shelf, log, on_upkeep_failed, history);
    history->writer = start_writer(history);
    upkeep_tick(history->upkeep, &history->settings.retention, clk_wall_ms());
    *ret_history = history;
    return RESULT_OK;
}

void history_close(history_t **history_ref)
{
    history_t *history = *history_ref;
    if (!history)
        return;
    if (history->gather_timer >= 0)
        zloop_timer_end(history->loop, history->gather_timer);
    if (history->turn_timer >= 0)
        zloop_timer_end(history->loop, history->turn_timer);
    writer_destroy(&history->writer);
    upkeep_destroy(&history->upkeep);
    archive_destroy(&history->archive);
    db_close(&history->db);
    commit_destroy(&history->running);
    commit_destroy(&history->next);
    marks_rows_release(&history->carried);
    shelf_destroy(&history->shelf);
    free(history->dir);
    free(history);
    *history_ref = NULL;
}

/* ---- For the auditor -------------------------------------------------------------------- */

commit_t *history_next(history_t *history)
{
    return history->next;
}

static int on_gathered(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    history_t *history = arg;
    history->gather_timer = -1;
    history_kick(history);
    return 0;
}

/* Nobody waits for a record as one waits for an answer, and few large commits cost much less than
 * many small ones. */
static bool gathers(history_t *history)
{
    const commit_t *next = history->next;
    int64_t wait_ms = history->settings.gather_ms - (clk_mono_ms() - next->since_ms);
    if (next->n_items == 0 || next->n_items >= GATHER_RECORDS || wait_ms <= 0)
        return false;
    if (history->gather_timer < 0)
        history->gather_timer =
            zloop_timer(history->loop, (size_t)wait_ms, 1, on_gathered, history);
    return true;
}

void history_kick(history_t *history)
{
    bool turning = history->turn_timer >= 0;
    if (turning || history->running || !writer_idle(history->writer) || gathers(history))
        return;
    if (is_segment_full(history) && upkeep_prepared(history->upkeep)) {
        history->turn_timer = zloop_timer(history->loop, 0, 1, on_turn, history);
        return;
    }
    commit_t *commit = history->next;
    marks_rows_release(&commit->marks);
    marks_collect(history->marks, &commit->marks);
    if (commit->n_items == 0 && commit->marks.n_rows == 0 && commit->handlers_seq == 0)
        return;
    history->running = commit;
    history->next = commit_new();
    writer_submit(history->writer, commit);
}

bool history_room(const history_t *history)
{
    return history->next->size_bytes < history->settings.room_bytes;
}

const char *history_full(const history_t *history)
{
    return history->full ? history->full_why : NULL;
}

bool history_idle(const history_t *history)
{
    return !history->running && history->next->n_items == 0 && !history->next->handlers_seq;
}

/* One at a time. Its file is renamed when the record that tells of it is committed: so a kill may
 * tell it twice, but never not at all. */
static void tell_damaged(history_t *history)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = shelf_copy(history->shelf, &segments);
    for (size_t i = 0; i < n && !history->teller; i++) {
        if (!segments[i].damaged || segments[i].told)
            continue;
        history->teller = history->next;
        history->told = segments[i];
        history->calls.on_damaged(history->owner, &segments[i]);
    }
}

void history_tick(history_t *history)
{
    tell_damaged(history);
    upkeep_tick(history->upkeep, &history->settings.retention, clk_wall_ms());
    history_kick(history);
}

void history_set_retention(history_t *history, const retention_t *retention)
{
    history->settings.retention = *retention;
}

const tail_t *history_tail(const history_t *history)
{
    return &history->tail;
}

shelf_t *history_shelf(history_t *history)
{
    return history->shelf;
}

void history_stats(history_t *history, json_writer_t *w)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = shelf_copy(history->shelf, &segments), sealing = 0, damaged = 0;
    int64_t bytes = segment_bytes(history->dir, segments[n - 1].span.first_id);
    for (size_t i = 0; i < n; i++) {
        bytes += segments[i].bytes;
        sealing += !segments[i].live && !segments[i].indexed && !segments[i].damaged;
        damaged += segments[i].damaged;
    }
    const commit_t *oldest = history->running ? history->running : history->next;
    size_t waiting = history->next->n_items + (history->running ? history->running->n_items : 0);
    json_key_int(w, "records", history->committed_records);
    json_key_int(w, "last_audit_id", history->tail.next_id - 1);
    json_key_int(w, "oldest_audit_id", segments[0].span.first_id);
    json_key_int(w, "segments", (int64_t)n);
    json_key_int(w, "sealing", (int64_t)sealing);
    json_key_int(w, "damaged", (int64_t)damaged);
    json_key_int(w, "bytes", bytes);
    json_key_bool(w, "full", history->full);
    json_key_int(w, "waiting_records", (int64_t)waiting);
    json_key_int(w, "waiting_bytes", (int64_t)history->next->size_bytes);
    json_key_int(w, "lag_ms", waiting ? clk_mono_ms() - oldest->since_ms : 0);
}
