#include "services/auditor/questions.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "services/auditor/answers.h"

enum {
    BURST = 64,
    FRAMES_MAX = 8, /* of one question; more is nonsense */
    ANSWER_LINGER_MS = 200,
};

typedef struct question_t question_t;

struct question_t {
    worker_task_t task;
    questions_t *questions;
    zmsg_t *envelope; /* what stands before the question, and goes back in front of the answer */
    zframe_t *text;
    buf_t answer;
    answers_effect_t effect;
    question_t *next; /* of those that wait */
};

struct questions_t {
    zloop_t *loop;
    zsock_t *socket;
    desk_t *desk;
    questions_calls_t calls;
    void *owner;
    question_t *waiting; /* with the worker */
    size_t n_waiting;
    int64_t asked, refused;
    int64_t quiet_s; /* since the last question */
};

/* On the worker's thread. */
static void run(worker_task_t *task)
{
    question_t *question = (question_t *)task;
    slice_t text = {(const char *)zframe_data(question->text), zframe_size(question->text)};
    answers_give(question->questions->desk, text, &question->answer, &question->effect);
}

/* The asker may be gone: then there is nobody to tell. */
static void send_answer(questions_t *questions, zmsg_t *envelope, slice_t answer)
{
    zmsg_addmem(envelope, answer.data, answer.size);
    for (zframe_t *frame = zmsg_pop(envelope); frame; frame = zmsg_pop(envelope)) {
        int more = zmsg_size(envelope) > 0 ? ZFRAME_MORE : 0;
        if (zframe_send(&frame, questions->socket, more | ZFRAME_DONTWAIT) != 0) {
            zframe_destroy(&frame);
            return;
        }
    }
}

static void take_out(questions_t *questions, question_t *question)
{
    question_t **at = &questions->waiting;
    while (*at != question)
        at = &(*at)->next;
    *at = question->next;
    questions->n_waiting--;
}

static void done(worker_task_t *task)
{
    question_t *question = (question_t *)task;
    questions_t *questions = question->questions;
    take_out(questions, question);
    if (!task->dropped)
        send_answer(questions, question->envelope, buf_slice(&question->answer));
    if (!task->dropped && question->effect.job)
        questions->calls.on_job(questions->owner, question->effect.job);
    if (!task->dropped && question->effect.failed)
        questions->calls.on_failed(questions->owner, question->effect.stop);
    zmsg_destroy(&question->envelope);
    zframe_destroy(&question->text);
    buf_release(&question->answer);
    free(question);
}

static size_t count_of(const questions_t *questions, zmsg_t *envelope)
{
    size_t n = 0;
    for (const question_t *at = questions->waiting; at; at = at->next)
        n += zframe_eq(zmsg_first(at->envelope), zmsg_first(envelope));
    return n;
}

static void take_question(questions_t *questions, zmsg_t **msg_ref)
{
    AUTO(zmsg) msg = TAKE(*msg_ref);
    size_t frames = zmsg_size(msg);
    if (frames < 2 || frames > FRAMES_MAX)
        return;
    AUTO(zframe) text = zmsg_last(msg);
    zmsg_remove(msg, text);
    questions->asked++;
    questions->quiet_s = 0;
    if (questions->n_waiting >= QUESTIONS_MAX || count_of(questions, msg) >= QUESTIONS_OF_ONE_MAX) {
        questions->refused++;
        send_answer(questions, msg, SLICE("{\"ok\":false,\"error\":\"busy\"}"));
        return;
    }
    question_t *question = MEM_NEW(question_t);
    question->task = (worker_task_t){.run = run, .done = done};
    question->questions = questions;
    question->envelope = TAKE(msg);
    question->text = TAKE(text);
    question->next = questions->waiting;
    questions->waiting = question;
    questions->n_waiting++;
    worker_submit(questions->desk->worker, &question->task);
}

static int on_question(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    for (int i = 0; i < BURST && (zsock_events(socket) & ZMQ_POLLIN); i++) {
        zmsg_t *msg = zmsg_recv(socket);
        if (!msg)
            break;
        take_question(arg, &msg);
    }
    return 0;
}

questions_t *questions_new(zloop_t *loop, zsock_t **socket, desk_t *desk,
                           const questions_calls_t *calls, void *owner)
{
    questions_t *questions = MEM_NEW(questions_t);
    *questions = (questions_t){
        .loop = loop, .socket = TAKE(*socket), .desk = desk, .calls = *calls, .owner = owner};
    zsock_set_linger(questions->socket, ANSWER_LINGER_MS);
    zloop_reader(loop, questions->socket, on_question, questions);
    zloop_reader_set_tolerant(loop, questions->socket);
    return questions;
}

void questions_destroy(questions_t **questions_ref)
{
    questions_t *questions = *questions_ref;
    if (!questions)
        return;
    ENSURE(!questions->waiting);
    zloop_reader_end(questions->loop, questions->socket);
    zsock_destroy(&questions->socket);
    free(questions);
    *questions_ref = NULL;
}

typedef struct {
    worker_task_t task;
    desk_t *desk;
} rest_t;

static void run_rest(worker_task_t *task)
{
    archive_rest(((rest_t *)task)->desk->archive, true);
}

static void done_rest(worker_task_t *task)
{
    free(task);
}

void questions_tick(questions_t *questions, int64_t rest_s)
{
    if (++questions->quiet_s != rest_s)
        return;
    rest_t *rest = MEM_NEW(rest_t);
    rest->task = (worker_task_t){.run = run_rest, .done = done_rest};
    rest->desk = questions->desk;
    worker_submit(questions->desk->worker, &rest->task);
}

void questions_stats(const questions_t *questions, json_writer_t *w)
{
    json_key_int(w, "questions", questions->asked);
    json_key_int(w, "questions_waiting", (int64_t)questions->n_waiting);
    json_key_int(w, "questions_refused", questions->refused);
}
