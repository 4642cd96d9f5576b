#include "services/auditor/replay_ops.h"
#include "common/base/cleanup.h"
#include "services/auditor/arguments.h"
#include "services/auditor/candidates.h"
#include "services/auditor/segment.h"

enum { RATE_MAX = 1000000 };

/* ---- Start ------------------------------------------------------------------------------ */

static result_t take_text(const json_tree_t *question, const char *key, char *to, size_t size,
                          fault_t *fault)
{
    slice_t text;
    result_t r = argument_text(question, key, size - 1, &text, fault);
    if (r == RESULT_OK && text.size) {
        memcpy(to, text.data, text.size);
        to[text.size] = 0;
    }
    return r;
}

static bool is_status(const char *status)
{
    static const char *const known[] = {"exhausted", "cancelled", "delivered", "failed", "all"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], status) == 0)
            return true;
    return false;
}

static result_t read_job(const json_tree_t *q, job_t *job, fault_t *fault)
{
    result_t r = take_text(q, "event_id", job->event_id, sizeof job->event_id, fault);
    if (r == RESULT_OK)
        r = take_text(q, "status", job->status, sizeof job->status, fault);
    if (r == RESULT_OK)
        r = argument_int(q, "handler_id", 0, 0, INT64_MAX, &job->handler_id, fault);
    if (r == RESULT_OK)
        r = argument_int(q, "since_ms", 0, 0, INT64_MAX, &job->since_ms, fault);
    if (r == RESULT_OK)
        r = argument_int(q, "until_ms", INT64_MAX, 0, INT64_MAX, &job->until_ms, fault);
    if (r == RESULT_OK)
        r = argument_int(q, "rate", 0, 0, RATE_MAX, &job->rate, fault);
    if (r == RESULT_OK)
        r = argument_bool(q, "superseded", &job->superseded, fault);
    if (r != RESULT_OK)
        return r;
    if (!*job->event_id && !job->handler_id)
        return fault_set(fault, RESULT_INVALID, "say what: \"event_id\", \"handler_id\", or both");
    if (*job->status && !is_status(job->status))
        return fault_set(fault, RESULT_INVALID,
                         "\"status\" is to be exhausted, cancelled, delivered, failed or all");
    if (!*job->status && !*job->event_id)
        memcpy(job->status, "exhausted", sizeof "exhausted");
    return RESULT_OK;
}

/* The table may be read by this thread's own connection only. Busy: what was read before will do.
 */
static result_t check_handler(desk_t *desk, const job_t *job, fault_t *fault)
{
    if (!job->handler_id)
        return RESULT_OK;
    result_t r = handlers_poll(desk->handlers, NULL);
    if (r != RESULT_OK && r != RESULT_AGAIN)
        return fault_set(fault, r, "the handler table cannot be read");
    const handler_t *handler = handlers_find(desk->handlers, job->handler_id);
    if (!handler)
        return fault_set(fault, RESULT_NOT_FOUND, "there is no handler %lld",
                         (long long)job->handler_id);
    if (handler->status == HANDLER_ARCHIVED || handler->status == HANDLER_DELETED)
        return fault_set(fault, RESULT_NOT_FOUND, "handler %lld is %s: nothing is sent to it",
                         (long long)job->handler_id, handler_status_str(handler->status));
    return RESULT_OK;
}

/* A replay's own id stands for the event that it replays. */
static result_t find_original(desk_t *desk, job_t *job, fault_t *fault)
{
    AUTO_BUF bytes = {0};
    entry_t entry;
    if (!*job->event_id)
        return RESULT_OK;
    result_t r = archive_find(desk->archive, slice_of(job->event_id), "event.accepted", 0, &bytes,
                              &entry, fault);
    if (r == RESULT_NOT_FOUND)
        return fault_set(fault, r, "event %s is not found in history", job->event_id);
    if (r != RESULT_OK)
        return r;
    slice_t original = entry_original_id(entry.record.event_id, entry.record.webhook_id);
    memcpy(job->event_id, original.data, original.size);
    job->event_id[original.size] = 0;
    return RESULT_OK;
}

static result_t add(desk_t *desk, job_t *job)
{
    result_t r = db_begin(desk->jobs);
    if (r != RESULT_OK)
        return r;
    r = jobs_add(desk->jobs, job);
    if (r == RESULT_OK)
        r = db_commit(desk->jobs);
    if (r != RESULT_OK)
        db_rollback(desk->jobs);
    return r;
}

static result_t newest_id(desk_t *desk, int64_t *ret_id, fault_t *fault)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    db_t *db;
    size_t n = archive_segments(desk->archive, &segments);
    result_t r = archive_open(desk->archive, &segments[n - 1], &db, fault);
    if (r != RESULT_OK)
        return r;
    r = segment_newest_id(db, ret_id);
    if (r == RESULT_NOT_FOUND)
        *ret_id = segments[n - 1].span.first_id - 1;
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

result_t replay_ops_start(desk_t *desk, const json_tree_t *question, json_writer_t *w,
                          int64_t *ret_job, fault_t *fault)
{
    job_t job = {.state = "running", .created_ms = clk_wall_ms()};
    result_t r = read_job(question, &job, fault);
    if (r == RESULT_OK)
        r = check_handler(desk, &job, fault);
    if (r == RESULT_OK)
        r = find_original(desk, &job, fault);
    if (r == RESULT_OK)
        r = newest_id(desk, &job.until_id, fault);
    if (r == RESULT_OK)
        r = candidates_count(desk, &job, &job.total, fault);
    if (r != RESULT_OK)
        return r;
    if (*job.event_id && job.total == 0)
        return fault_set(fault, RESULT_NOT_FOUND,
                         "event %s was given to no handler%s: there is nothing to replay",
                         job.event_id, *job.status ? " with that status" : "");
    r = add(desk, &job);
    if (r == RESULT_AGAIN)
        return fault_set(fault, r, "%d replays are running: wait for one or cancel one",
                         JOBS_RUNNING_MAX);
    if (r != RESULT_OK)
        return fault_set(fault, r, "cannot start the replay: %s", db_error(desk->jobs));
    json_key_int(w, "job", job.id);
    *ret_job = job.id;
    return RESULT_OK;
}

/* ---- Status ----------------------------------------------------------------------------- */

static void add_skipped(void *owner, slice_t event_id)
{
    json_slice(owner, event_id);
}

static void add_time(json_writer_t *w, const char *key, int64_t wall_ms)
{
    char text[CLK_ISO_SIZE];
    clk_iso_millis(wall_ms, text);
    if (wall_ms)
        json_key_str(w, key, text);
}

static void add_members(const job_t *job, json_writer_t *w)
{
    json_key_int(w, "job", job->id);
    json_key_str(w, "state", job->state);
    if (*job->event_id)
        json_key_str(w, "event_id", job->event_id);
    if (job->handler_id)
        json_key_int(w, "handler_id", job->handler_id);
    if (*job->status)
        json_key_str(w, "status", job->status);
    json_key_int(w, "total", job->total);
    json_key_int(w, "sent", job->sent);
    json_key_int(w, "skipped", job->skipped);
    if (*job->error)
        json_key_str(w, "error", job->error);
    add_time(w, "created_at", job->created_ms);
    add_time(w, "ended_at", job->ended_ms);
}

static result_t find_job(desk_t *desk, const json_tree_t *question, job_t *ret_job, fault_t *fault)
{
    int64_t id;
    result_t r = argument_int(question, "job", 0, 1, INT64_MAX, &id, fault);
    if (r != RESULT_OK)
        return r;
    r = jobs_get(desk->jobs, id, ret_job);
    if (r == RESULT_NOT_FOUND)
        return fault_set(fault, r, "there is no replay %lld", (long long)id);
    return r == RESULT_OK ? r : fault_set(fault, r, "replay jobs: %s", db_error(desk->jobs));
}

static result_t add_job(desk_t *desk, const job_t *job, json_writer_t *w, fault_t *fault)
{
    add_members(job, w);
    json_key(w, "skipped_events");
    json_open_array(w);
    result_t r = jobs_skipped(desk->jobs, job->id, add_skipped, w);
    json_close_array(w);
    return r == RESULT_OK ? r : fault_set(fault, r, "replay jobs: %s", db_error(desk->jobs));
}

result_t replay_ops_status(desk_t *desk, const json_tree_t *question, json_writer_t *w,
                           fault_t *fault)
{
    job_t job;
    result_t r = find_job(desk, question, &job, fault);
    return r == RESULT_OK ? add_job(desk, &job, w, fault) : r;
}

static result_t end(desk_t *desk, int64_t id)
{
    result_t r = db_begin(desk->jobs);
    if (r != RESULT_OK)
        return r;
    r = jobs_end(desk->jobs, id, "cancelled", clk_wall_ms());
    if (r == RESULT_OK)
        r = db_commit(desk->jobs);
    if (r != RESULT_OK)
        db_rollback(desk->jobs);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r; /* it had ended by itself */
}

result_t replay_ops_cancel(desk_t *desk, const json_tree_t *question, json_writer_t *w,
                           int64_t *ret_job, fault_t *fault)
{
    job_t job;
    result_t r = find_job(desk, question, &job, fault);
    if (r != RESULT_OK)
        return r;
    r = end(desk, job.id);
    if (r == RESULT_OK)
        r = jobs_get(desk->jobs, job.id, &job);
    if (r != RESULT_OK)
        return fault_set(fault, r, "replay jobs: %s", db_error(desk->jobs));
    *ret_job = job.id;
    return add_job(desk, &job, w, fault);
}

result_t replay_ops_list(desk_t *desk, json_writer_t *w, fault_t *fault)
{
    AUTO_FREE job_t *jobs = NULL;
    size_t n = 0;
    result_t r = jobs_list(desk->jobs, false, &jobs, &n);
    if (r != RESULT_OK)
        return fault_set(fault, r, "replay jobs: %s", db_error(desk->jobs));
    json_key(w, "jobs");
    json_open_array(w);
    for (size_t i = 0; i < n; i++) {
        json_open_object(w);
        add_members(&jobs[i], w);
        json_close_object(w);
    }
    json_close_array(w);
    return RESULT_OK;
}
