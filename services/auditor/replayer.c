#include "services/auditor/replayer.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/wire/codec.h"
#include "services/auditor/run.h"

enum {
    REQUEST_ITEMS = 32,
    REQUEST_BYTES = 512 << 10,
    ANSWER_MS = 5000, /* without an answer for so long the same is sent again */
    BUSY_MS = 500,
    PRUNE_TICKS = 60,
    BURST = 16,
};
static const int64_t items_kept_ms = 3600000; /* until history certainly has the replays */

typedef enum { LIST, NEXT, SAVE, PRUNE } work_t;

typedef struct {
    worker_task_t task;
    replayer_t *replayer;
    work_t work;
    run_t *run; /* NEXT, SAVE */
    plan_progress_t progress;
    char refused[RUN_REFUSED_MAX][ENTRY_EVENT_ID_MAX + 1];
    plan_page_t page; /* NEXT */
    job_t *jobs;      /* LIST */
    size_t n_jobs;
    result_t result;
    fault_t fault;
} step_t;

struct replayer_t {
    zloop_t *loop;
    endpoint_peers_t *peers;
    desk_t *desk;
    void (*on_failed)(void *owner, const char *text);
    void *owner;
    run_t *runs[JOBS_RUNNING_MAX];
    size_t n_runs;
    size_t turn;      /* whose turn it is */
    run_t *asked;     /* whose request is on its way; NULL: none */
    int64_t until_ms; /* monotonic: when it is sent again, or when the emitter may be asked again */
    int alarm;        /* timer; -1: none */
    int64_t ticks;
    int64_t sent;
    buf_t frame;
};

static void pump(replayer_t *replayer);

/* ---- Tasks ------------------------------------------------------------------------------ */

static result_t prune(desk_t *desk)
{
    result_t r = db_begin(desk->jobs);
    if (r != RESULT_OK)
        return r;
    r = jobs_prune(desk->jobs, clk_wall_ms() - items_kept_ms);
    if (r == RESULT_OK)
        r = db_commit(desk->jobs);
    if (r != RESULT_OK)
        db_rollback(desk->jobs);
    return r == RESULT_OK ? db_checkpoint(desk->jobs) : r;
}

/* On the worker's thread. */
static void run_step(worker_task_t *task)
{
    step_t *step = (step_t *)task;
    desk_t *desk = step->replayer->desk;
    switch (step->work) {
    case LIST:
        step->result = jobs_list(desk->jobs, true, &step->jobs, &step->n_jobs);
        break;
    case NEXT:
        step->result = plan_next(desk, step->run->job, &step->progress, &step->page, &step->fault);
        break;
    case SAVE:
        step->result = plan_save(desk, step->run->job, &step->progress, &step->fault);
        break;
    case PRUNE:
        step->result = prune(desk);
        break;
    }
}

static void remove_run(replayer_t *replayer, run_t *run)
{
    if (replayer->asked == run)
        replayer->asked = NULL; /* an answer that still comes has keys of nobody */
    for (size_t i = 0; i < replayer->n_runs; i++)
        if (replayer->runs[i] == run)
            replayer->runs[i] = replayer->runs[--replayer->n_runs];
    run_destroy(&run);
}

static void finish_run_step(replayer_t *replayer, step_t *step)
{
    run_t *run = step->run;
    run->busy = false;
    if (step->result == RESULT_OK && step->work == NEXT && !step->page.finished) {
        run_turn_page(run, &step->page);
    } else if (step->result == RESULT_NOT_FOUND || step->page.finished) {
        remove_run(replayer, run);
    } else if (step->result != RESULT_OK) {
        run_give_back(run, &step->progress);
        run->waits = true;
    }
}

static void add_run(replayer_t *replayer, int64_t job)
{
    if (replayer->n_runs < JOBS_RUNNING_MAX)
        replayer->runs[replayer->n_runs++] = run_new(job, clk_mono_ms());
}

static void finish_step(replayer_t *replayer, step_t *step)
{
    for (size_t i = 0; i < step->n_jobs; i++)
        replayer_job(replayer, step->jobs[i].id);
    if (step->run)
        finish_run_step(replayer, step);
    if (step->result == RESULT_IO || step->result == RESULT_CORRUPT)
        replayer->on_failed(replayer->owner, step->fault.text);
    else
        pump(replayer);
}

static void done_step(worker_task_t *task)
{
    step_t *step = (step_t *)task;
    if (task->dropped && step->run)
        step->run->busy = false;
    if (!task->dropped)
        finish_step(step->replayer, step);
    plan_page_release(&step->page);
    free(step->jobs);
    free(step);
}

static void submit(replayer_t *replayer, work_t work, run_t *run)
{
    step_t *step = MEM_NEW(step_t);
    step->task = (worker_task_t){.run = run_step, .done = done_step};
    step->replayer = replayer;
    step->work = work;
    step->run = run;
    if (run) {
        run->busy = true;
        run->poked = false;
        run_take_progress(run, &step->progress, step->refused);
    }
    worker_submit(replayer->desk->worker, &step->task);
}

/* ---- Requests --------------------------------------------------------------------------- */

static int on_alarm(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    replayer_t *replayer = arg;
    replayer->alarm = -1;
    pump(replayer);
    return 0;
}

static void set_alarm(replayer_t *replayer, int64_t wait_ms)
{
    if (replayer->alarm >= 0)
        zloop_timer_end(replayer->loop, replayer->alarm);
    replayer->alarm =
        zloop_timer(replayer->loop, (size_t)(wait_ms > 0 ? wait_ms : 0), 1, on_alarm, replayer);
}

/* Up to n items from run->at, at least one. */
static void build_request(replayer_t *replayer, const run_t *run, size_t n)
{
    buf_clear(&replayer->frame);
    for (size_t i = run->at; i < run->at + n && replayer->frame.size < REQUEST_BYTES; i++) {
        const plan_item_t *item = &run->page.items[i];
        char key[RUN_KEY_SIZE];
        if (item->missing)
            break;
        run_key(run->job, item->item.audit_id, key);
        replay_t replay = {
            .key = slice_of(key),
            .events_id = item->events_id,
            .object_kind = item->object_kind,
            .object_id = item->object_id,
            .body = item->body,
            .webhook_id = slice_of(item->item.original_id),
            .handler_id = item->item.handler_id,
            .replay = item->item.replay,
        };
        codec_add(&replay_table, &replay, &replayer->frame);
    }
}

/* False: nothing of it can go now; *ret_wait_ms says when it may. */
static bool send_request(replayer_t *replayer, run_t *run, int64_t mono_ms, int64_t *ret_wait_ms)
{
    while (run_has_items(run) && run->page.items[run->at].missing)
        run_refused(run, SLICE("its event is no longer kept"));
    size_t n = run_has_items(run) ? run_allowed(run, mono_ms, REQUEST_ITEMS, ret_wait_ms) : 0;
    if (n == 0)
        return false;
    build_request(replayer, run, n);
    void *socket = zsock_resolve(endpoint_socket(replayer->peers));
    if (zmq_send(socket, replayer->frame.data, replayer->frame.size, ZMQ_DONTWAIT) < 0) {
        *ret_wait_ms = BUSY_MS; /* no emitter */
        return false;
    }
    replayer->asked = run;
    replayer->until_ms = mono_ms + ANSWER_MS;
    return true;
}

static void send_next(replayer_t *replayer, int64_t mono_ms)
{
    int64_t first_ms = INT64_MAX;
    for (size_t i = 0; i < replayer->n_runs && !replayer->asked; i++) {
        run_t *run = replayer->runs[(replayer->turn + i) % replayer->n_runs];
        int64_t wait_ms = INT64_MAX;
        if (run->poked || !run_has_items(run))
            continue;
        if (send_request(replayer, run, mono_ms, &wait_ms))
            replayer->turn = (replayer->turn + i + 1) % replayer->n_runs;
        else if (wait_ms < first_ms)
            first_ms = wait_ms;
    }
    if (replayer->asked)
        first_ms = ANSWER_MS;
    if (first_ms != INT64_MAX)
        set_alarm(replayer, first_ms);
}

static void ask_for_pages(replayer_t *replayer)
{
    for (size_t i = 0; i < replayer->n_runs; i++) {
        run_t *run = replayer->runs[i];
        if (run->busy || run->waits)
            continue;
        if (!run_has_items(run))
            submit(replayer, NEXT, run);
        else if (run->poked)
            submit(replayer, SAVE, run);
    }
}

/* Sends what may be sent, gets what is missing, and knows when to be called again. */
static void pump(replayer_t *replayer)
{
    int64_t mono_ms = clk_mono_ms();
    if (mono_ms < replayer->until_ms) {
        set_alarm(replayer, replayer->until_ms - mono_ms);
    } else {
        replayer->asked = NULL; /* no answer: the same again */
        send_next(replayer, mono_ms);
    }
    ask_for_pages(replayer);
}

/* False: it is no answer to what is on its way, or the emitter is busy. */
static bool take_answer(replayer_t *replayer, const replayed_t *answer)
{
    char key[RUN_KEY_SIZE];
    run_t *run = replayer->asked;
    if (!run || !run_has_items(run))
        return false;
    run_key(run->job, run->page.items[run->at].item.audit_id, key);
    if (!slice_is(answer->key, key))
        return false;
    replayer->until_ms = 0;
    if (slice_is(answer->status, "busy")) {
        replayer->until_ms = clk_mono_ms() + BUSY_MS;
        return false;
    }
    if (slice_is(answer->status, "accepted") || slice_is(answer->status, "duplicate")) {
        run_accepted(run);
        replayer->sent++;
    } else {
        run_refused(run, answer->message.data ? answer->message : answer->status);
    }
    return true;
}

static void take_answers(replayer_t *replayer, slice_t frame)
{
    codec_reader_t reader;
    replayed_t answer;
    bool any = false;
    codec_reader_init(&reader, frame);
    while (codec_next(&reader, &replayed_table, &answer) == RESULT_OK &&
           take_answer(replayer, &answer))
        any = true;
    if (any || replayer->until_ms == 0)
        replayer->asked = NULL;
}

static int on_answer(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    replayer_t *replayer = arg;
    for (int i = 0; i < BURST && (zsock_events(socket) & ZMQ_POLLIN); i++) {
        AUTO(zmsg) msg = zmsg_recv(socket);
        if (!msg)
            break;
        zframe_t *frame = zmsg_last(msg);
        take_answers(replayer, (slice_t){(const char *)zframe_data(frame), zframe_size(frame)});
    }
    pump(replayer);
    return 0;
}

/* ---- Life ------------------------------------------------------------------------------- */

replayer_t *replayer_new(zloop_t *loop, endpoint_peers_t **peers, desk_t *desk,
                         void (*on_failed)(void *owner, const char *text), void *owner)
{
    replayer_t *replayer = MEM_NEW(replayer_t);
    *replayer = (replayer_t){.loop = loop,
                             .peers = TAKE(*peers),
                             .desk = desk,
                             .on_failed = on_failed,
                             .owner = owner,
                             .alarm = -1};
    zsock_t *socket = endpoint_socket(replayer->peers);
    zloop_reader(loop, socket, on_answer, replayer);
    zloop_reader_set_tolerant(loop, socket);
    submit(replayer, LIST, NULL);
    return replayer;
}

void replayer_destroy(replayer_t **replayer_ref)
{
    replayer_t *replayer = *replayer_ref;
    if (!replayer)
        return;
    if (replayer->alarm >= 0)
        zloop_timer_end(replayer->loop, replayer->alarm);
    zloop_reader_end(replayer->loop, endpoint_socket(replayer->peers));
    while (replayer->n_runs)
        remove_run(replayer, replayer->runs[0]);
    endpoint_peers_destroy(&replayer->peers);
    buf_release(&replayer->frame);
    free(replayer);
    *replayer_ref = NULL;
}

void replayer_job(replayer_t *replayer, int64_t job)
{
    for (size_t i = 0; i < replayer->n_runs; i++)
        if (replayer->runs[i]->job == job) {
            replayer->runs[i]->poked = true;
            pump(replayer);
            return;
        }
    add_run(replayer, job);
    pump(replayer);
}

void replayer_tick(replayer_t *replayer)
{
    for (size_t i = 0; i < replayer->n_runs; i++) {
        run_t *run = replayer->runs[i];
        run->waits = false;
        if (!run->busy && run_is_dirty(run) && run_has_items(run))
            submit(replayer, SAVE, run);
    }
    if (++replayer->ticks % PRUNE_TICKS == 0)
        submit(replayer, PRUNE, NULL);
    if (replayer->n_runs)
        pump(replayer);
}

void replayer_stats(const replayer_t *replayer, json_writer_t *w)
{
    json_key_int(w, "replays_running", (int64_t)replayer->n_runs);
    json_key_int(w, "replayed", replayer->sent);
}
