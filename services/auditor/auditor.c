#include "services/auditor/auditor.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/db/store.h"
#include "common/service/endpoint.h"
#include "services/auditor/announcer.h"
#include "services/auditor/changes.h"
#include "services/auditor/collector.h"
#include "services/auditor/duplicate.h"
#include "services/auditor/jobs.h"
#include "services/auditor/questions.h"
#include "services/auditor/replayer.h"
#include "services/auditor/segment.h"
#include "services/auditor/stream.h"

enum {
    ROOM_BYTES = 16 << 20, /* of records that wait for a commit; as much may be in it */
    GATHER_MS = 20,
    RECORDS_PER_ATTEMPT = 4,
    TICK_MS = 1000,
    STATS_TICKS = 10,
    HEARD_MS = 5000, /* a stage that was silent for longer is missing */
    REST_TICKS = 30, /* connections to old segments are closed when nobody asked for so long */
    MARKS_HWM = 1000,
    STREAM_HWM = 50000, /* of one subscriber that stands still: about 30 MB */
    SUBSCRIPTION_BYTES = 1 << 10,
    QUESTIONS_HWM = 16,
    QUESTION_BYTES = 64 << 10,
    REPLAY_HWM = 4,
    REPLAY_BYTES = 1 << 20,
};

typedef struct {
    service_t *service;
    char *dir;
    store_t *store; /* locks the folder; the replay jobs */
    marks_t *marks;
    history_t *history;
    collector_t *collector;
    announcer_t *announcer;
    stream_t *stream;
    changes_t *changes;
    worker_t *worker;
    desk_t desk;
    questions_t *questions;
    replayer_t *replayer;
    int tick_timer; /* -1: none */
    int64_t ticks;
    bool draining;
} auditor_t;

/* ---- History's calls -------------------------------------------------------------------- */

static void on_committed(void *self, const commit_t *commit)
{
    auditor_t *auditor = self;
    stream_publish(auditor->stream, commit);
    announcer_committed(auditor->announcer, &commit->marks);
    if (auditor->collector)
        collector_resume(auditor->collector);
}

static void on_full(void *self, const char *why)
{
    auditor_t *auditor = self;
    if (why)
        log_line(service_log(auditor->service), LEVEL_ERROR,
                 "event=store_unwritable store=history error=\"%s\" next=\"tried each second; "
                 "stages keep their records\"",
                 why);
    else
        log_line(service_log(auditor->service), LEVEL_INFO, "event=store_writable store=history");
    collector_resume(auditor->collector);
}

static void on_failed(void *self, const char *text)
{
    service_fail(((auditor_t *)self)->service, "%s", text);
}

/* Its records are a gap for whoever reads history. */
static void on_damaged(void *self, const shelf_segment_t *segment)
{
    auditor_t *auditor = self;
    int64_t first_id = segment->span.first_id, last_id = segment->last_id;
    char path[PATH_MAX];
    AUTO_BUF message = {0};
    segment_path(auditor->dir, first_id, path);
    log_line(service_log(auditor->service), LEVEL_ERROR,
             "event=segment_damaged file=%s first_id=%lld last_id=%lld next=\"renamed to "
             "*.db.damaged, history goes on without it; restore it from a backup\"",
             path, (long long)first_id, (long long)last_id);
    buf_printf(&message, "a segment of history is damaged: audit_id %lld to %lld",
               (long long)first_id, (long long)last_id);
    record_t gap = {.topic = SLICE("stage.audit_gap"),
                    .at_ms = clk_wall_ms(),
                    .count = last_id - first_id + 1,
                    .message = buf_slice(&message)};
    commit_add_own(history_next(auditor->history), slice_of(store_node(auditor->store)),
                   SLICE("auditor"), &gap);
}

static void on_question_failed(void *self, bool stop)
{
    auditor_t *auditor = self;
    if (stop)
        service_fail(auditor->service, "replay jobs: the disk failed");
    else
        log_line(service_log(auditor->service), LEVEL_ERROR,
                 "event=history_unreadable store=%s next=\"the question was refused\"",
                 auditor->dir);
}

static void on_job(void *self, int64_t job)
{
    replayer_job(((auditor_t *)self)->replayer, job);
}

/* ---- Time ------------------------------------------------------------------------------- */

static void add_stats(void *self, json_writer_t *w);

static void send_stats(auditor_t *auditor)
{
    AUTO_BUF json = {0};
    json_writer_t w;
    char at[CLK_ISO_SIZE];
    if (!stream_wants(auditor->stream, "stage.stats"))
        return;
    clk_iso_millis(clk_wall_ms(), at);
    json_begin(&w, &json);
    json_open_object(&w);
    json_key_str(&w, "topic", "stage.stats");
    json_key_str(&w, "at", at);
    json_key_str(&w, "node", store_node(auditor->store));
    json_key_str(&w, "service", "auditor");
    json_key(&w, "stats");
    json_open_object(&w);
    add_stats(auditor, &w);
    json_close_object(&w);
    json_close_object(&w);
    stream_send(auditor->stream, "stage.stats", &json);
}

static int on_tick(zloop_t *loop, int timer, void *self)
{
    (void)loop;
    (void)timer;
    auditor_t *auditor = self;
    int64_t mono_ms = clk_mono_ms();
    auditor->ticks++;
    announcer_tick(auditor->announcer, mono_ms);
    stream_tick(auditor->stream, history_tail(auditor->history), mono_ms);
    history_tick(auditor->history);
    if (!auditor->draining)
        changes_poll(auditor->changes);
    replayer_tick(auditor->replayer);
    questions_tick(auditor->questions, REST_TICKS);
    if (auditor->ticks % STATS_TICKS == 0)
        send_stats(auditor);
    return 0;
}

/* ---- Start ------------------------------------------------------------------------------ */

static void add_stage_record(auditor_t *auditor, const char *topic)
{
    AUTO_BUF message = {0};
    buf_printf(&message, "version %s, pid %d", PROVISOR_VERSION, (int)getpid());
    record_t record = {
        .topic = slice_of(topic), .at_ms = clk_wall_ms(), .message = buf_slice(&message)};
    commit_add_own(history_next(auditor->history), slice_of(store_node(auditor->store)),
                   SLICE("auditor"), &record);
    history_kick(auditor->history);
}

static retention_t read_retention(const config_t *config)
{
    return (retention_t){.age_ms = config_int(config, "auditor", "retention_age"),
                         .bytes = config_int(config, "auditor", "retention_bytes")};
}

static result_t open_history(auditor_t *auditor, fault_t *fault)
{
    static const history_calls_t calls = {
        .on_committed = on_committed,
        .on_full = on_full,
        .on_failed = on_failed,
        .on_damaged = on_damaged,
    };
    const config_t *config = service_config(auditor->service);
    AUTO_BUF dir = {0};
    buf_printf(&dir, "%s/history", config_data(config));
    auditor->dir = buf_take(&dir);
    store_spec_t spec = {
        .dir = auditor->dir, .name = "jobs", .migrations = jobs_migrations, .service = "auditor"};
    history_settings_t settings = {
        .dir = auditor->dir,
        .segment_attempts = config_int(config, "auditor", "segment_attempts"),
        .segment_records = config_int(config, "auditor", "segment_attempts") * RECORDS_PER_ATTEMPT,
        .segment_age_ms = config_int(config, "auditor", "segment_age"),
        .retention = read_retention(config),
        .room_bytes = ROOM_BYTES,
        .gather_ms = GATHER_MS,
    };
    result_t r = store_open(&spec, &auditor->store, fault);
    if (r != RESULT_OK)
        return r;
    service_set_node(auditor->service, store_node(auditor->store));
    return history_open(service_loop(auditor->service), &settings, service_log(auditor->service),
                        auditor->marks, &calls, auditor, &auditor->history, fault);
}

static result_t bind_one(auditor_t *auditor, const char *key, const endpoint_options_t *options,
                         zsock_t **ret_socket, fault_t *fault)
{
    return endpoint_bind(service_config(auditor->service), "auditor", key, options, ret_socket,
                         fault);
}

static result_t open_publishers(auditor_t *auditor, fault_t *fault)
{
    zloop_t *loop = service_loop(auditor->service);
    endpoint_options_t options = {
        .type = ZMQ_XPUB, .hwm = MARKS_HWM, .max_msg_bytes = SUBSCRIPTION_BYTES};
    zsock_t *socket = NULL;
    result_t r = bind_one(auditor, "marks", &options, &socket, fault);
    if (r != RESULT_OK)
        return r;
    auditor->announcer = announcer_new(loop, &socket, auditor->marks);
    options.hwm = STREAM_HWM;
    r = bind_one(auditor, "stream", &options, &socket, fault);
    if (r == RESULT_OK)
        auditor->stream = stream_new(loop, &socket);
    return r;
}

static result_t open_questions(auditor_t *auditor, fault_t *fault)
{
    static const questions_calls_t calls = {.on_job = on_job, .on_failed = on_question_failed};
    zloop_t *loop = service_loop(auditor->service);
    AUTO(zsock) socket = NULL;
    endpoint_peers_t *peers = NULL;
    result_t r =
        bind_one(auditor, "questions",
                 &(endpoint_options_t){
                     .type = ZMQ_ROUTER, .hwm = QUESTIONS_HWM, .max_msg_bytes = QUESTION_BYTES},
                 &socket, fault);
    if (r != RESULT_OK)
        return r;
    auditor->worker = worker_new(loop);
    auditor->desk = (desk_t){.archive = archive_new(auditor->dir, history_shelf(auditor->history)),
                             .jobs = store_db(auditor->store),
                             .worker = auditor->worker};
    r = handlers_open(config_handlers_dir(service_config(auditor->service)),
                      &auditor->desk.handlers, fault);
    if (r != RESULT_OK)
        return r;
    auditor->questions = questions_new(loop, &socket, &auditor->desk, &calls, auditor);
    r = endpoint_connect(loop, config_text(service_config(auditor->service), "auditor", "replay"),
                         &(endpoint_options_t){.type = ZMQ_DEALER,
                                               .hwm = REPLAY_HWM,
                                               .max_msg_bytes = REPLAY_BYTES,
                                               .log = service_log(auditor->service)},
                         &peers, fault);
    if (r == RESULT_OK)
        auditor->replayer = replayer_new(loop, &peers, &auditor->desk, on_failed, auditor);
    return r;
}

static result_t open_all(auditor_t *auditor, fault_t *fault)
{
    const config_t *config = service_config(auditor->service);
    result_t r = open_history(auditor, fault);
    if (r == RESULT_OK)
        r = open_publishers(auditor, fault);
    if (r == RESULT_OK)
        r = open_questions(auditor, fault);
    if (r == RESULT_OK)
        r = changes_new(config_handlers_dir(config), store_node(auditor->store), auditor->history,
                        service_log(auditor->service), &auditor->changes, fault);
    if (r == RESULT_OK)
        r = collector_new(auditor->service, auditor->marks, auditor->history, &auditor->collector,
                          fault);
    return r;
}

static void destroy(void **self)
{
    auditor_t *auditor = *self;
    zloop_t *loop = service_loop(auditor->service);
    if (auditor->tick_timer >= 0)
        zloop_timer_end(loop, auditor->tick_timer);
    collector_destroy(&auditor->collector);
    changes_destroy(&auditor->changes);
    worker_destroy(&auditor->worker); /* before whom its tasks belong to */
    replayer_destroy(&auditor->replayer);
    questions_destroy(&auditor->questions);
    archive_destroy(&auditor->desk.archive);
    handlers_close(&auditor->desk.handlers);
    history_close(&auditor->history);
    stream_destroy(&auditor->stream);
    announcer_destroy(&auditor->announcer);
    marks_destroy(&auditor->marks);
    store_close(&auditor->store);
    free(auditor->dir);
    free(auditor);
    *self = NULL;
}

static result_t create(service_t *service, void **ret_self, fault_t *fault)
{
    auditor_t *auditor = MEM_NEW(auditor_t);
    *auditor = (auditor_t){.service = service, .marks = marks_new(), .tick_timer = -1};
    result_t r = open_all(auditor, fault);
    if (r != RESULT_OK) {
        void *self = auditor;
        destroy(&self);
        return r;
    }
    zloop_t *loop = service_loop(service);
    auditor->tick_timer = zloop_timer(loop, TICK_MS, 0, on_tick, auditor);
    add_stage_record(auditor, "stage.started");
    *ret_self = auditor;
    return RESULT_OK;
}

/* ---- Service ---------------------------------------------------------------------------- */

static void drain(void *self)
{
    auditor_t *auditor = self;
    auditor->draining = true;
    collector_stop(auditor->collector);
    add_stage_record(auditor, "stage.stopped");
}

static bool drained(void *self)
{
    auditor_t *auditor = self;
    history_kick(auditor->history);
    return history_idle(auditor->history);
}

static void reload(void *self)
{
    auditor_t *auditor = self;
    retention_t retention = read_retention(service_config(auditor->service));
    history_set_retention(auditor->history, &retention);
}

typedef struct {
    json_writer_t *w;
    int64_t mono_ms;
} nodes_t;

static void add_node(void *self, const marks_row_t *row)
{
    nodes_t *nodes = self;
    json_open_object(nodes->w);
    json_key_str(nodes->w, "node", row->node);
    json_key_str(nodes->w, "service", row->service);
    json_key_int(nodes->w, "boot", row->boot);
    json_key_int(nodes->w, "mark", row->number);
    json_key_int(nodes->w, "silent_ms", nodes->mono_ms - row->heard_mono_ms);
    json_close_object(nodes->w);
}

static void add_stats(void *self, json_writer_t *w)
{
    auditor_t *auditor = self;
    nodes_t nodes = {.w = w, .mono_ms = clk_mono_ms()};
    history_stats(auditor->history, w);
    collector_stats(auditor->collector, w);
    stream_stats(auditor->stream, w);
    questions_stats(auditor->questions, w);
    replayer_stats(auditor->replayer, w);
    json_key(w, "nodes");
    json_open_array(w);
    marks_each(auditor->marks, 0, add_node, &nodes);
    json_close_array(w);
}

static bool ready(void *self, char *ret_why, size_t size)
{
    static const char *const kinds[] = {"emitter", "router", "deliverer"};
    auditor_t *auditor = self;
    int64_t since_ms = clk_mono_ms() - HEARD_MS;
    const char *full = history_full(auditor->history);
    if (full) {
        snprintf(ret_why, size, "history cannot be written: %s", full);
        return false;
    }
    size_t missing = 0, used = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (marks_heard(auditor->marks, kinds[i], since_ms > 0 ? since_ms : 0))
            continue;
        int n = snprintf(ret_why + used, size - used, "%s%s", missing++ ? ", " : "no ", kinds[i]);
        used += n > 0 && (size_t)n < size - used ? (size_t)n : 0;
    }
    if (missing)
        snprintf(ret_why + used, size - used, " heard");
    return missing == 0;
}

static result_t copy_jobs(void *self, backup_t *backup, const char *dir, fault_t *fault)
{
    const auditor_t *auditor = self;
    return duplicate_jobs(store_path(auditor->store), backup, dir, fault);
}

static result_t copy_history(void *self, backup_t *backup, const char *dir, fault_t *fault)
{
    const auditor_t *auditor = self;
    return duplicate_history(auditor->dir, history_shelf(auditor->history), backup, dir, fault);
}

static const backup_part_t parts[] = {
    {"jobs", copy_jobs},
    {"history", copy_history},
    {NULL, NULL},
};

const service_spec_t auditor_spec = {
    .name = "auditor",
    .help = "Keeps history: commits the audit records of all stages, publishes the audit stream,\n"
            "answers questions about the past, replays events.",
    .create = create,
    .destroy = destroy,
    .drain = drain,
    .drained = drained,
    .reload = reload,
    .stats = add_stats,
    .ready = ready,
    .backup = parts,
};
