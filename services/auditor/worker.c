#include "services/auditor/worker.h"
#include "common/base/mem.h"
#include "common/base/result.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

/* First in, first out. */
typedef struct {
    worker_task_t *first, *last;
} queue_t;

struct worker_t {
    zloop_t *loop;
    pthread_t thread;
    zmq_pollitem_t item; /* eventfd: finished has something */
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t to_thread; /* waiting or stop changed */
    queue_t waiting;          /* guarded */
    queue_t finished;         /* guarded */
};

static void push(queue_t *queue, worker_task_t *task)
{
    task->next = NULL;
    if (queue->last)
        queue->last->next = task;
    else
        queue->first = task;
    queue->last = task;
}

static worker_task_t *pop(queue_t *queue)
{
    worker_task_t *task = queue->first;
    if (!task)
        return NULL;
    queue->first = task->next;
    if (!queue->first)
        queue->last = NULL;
    return task;
}

/* NULL: stop. */
static worker_task_t *wait_next(worker_t *worker)
{
    pthread_mutex_lock(&worker->mutex);
    while (!worker->waiting.first && !atomic_load(&worker->stop))
        pthread_cond_wait(&worker->to_thread, &worker->mutex);
    worker_task_t *task = atomic_load(&worker->stop) ? NULL : pop(&worker->waiting);
    pthread_mutex_unlock(&worker->mutex);
    return task;
}

static void *run(void *self)
{
    worker_t *worker = self;
    for (worker_task_t *task; (task = wait_next(worker)) != NULL;) {
        task->run(task);
        pthread_mutex_lock(&worker->mutex);
        push(&worker->finished, task);
        pthread_mutex_unlock(&worker->mutex);
        ENSURE(eventfd_write(worker->item.fd, 1) == 0);
    }
    return NULL;
}

static worker_task_t *take(worker_t *worker, queue_t *queue)
{
    pthread_mutex_lock(&worker->mutex);
    worker_task_t *task = pop(queue);
    pthread_mutex_unlock(&worker->mutex);
    return task;
}

static int on_finished(zloop_t *loop, zmq_pollitem_t *item, void *self)
{
    (void)loop;
    worker_t *worker = self;
    eventfd_t count;
    (void)eventfd_read(item->fd, &count);
    for (worker_task_t *task; (task = take(worker, &worker->finished)) != NULL;)
        task->done(task);
    return 0;
}

/* Signals are the loop's. */
static void start_thread(worker_t *worker)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0)
        PANIC("cannot start a thread: %s", strerror(code));
}

worker_t *worker_new(zloop_t *loop)
{
    worker_t *worker = MEM_NEW(worker_t);
    worker->loop = loop;
    worker->item =
        (zmq_pollitem_t){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = ZMQ_POLLIN};
    if (worker->item.fd < 0)
        PANIC("cannot make an eventfd: %s", strerror(errno));
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->to_thread, NULL);
    zloop_poller(loop, &worker->item, on_finished, worker);
    start_thread(worker);
    return worker;
}

static void drop(worker_t *worker, queue_t *queue, bool dropped)
{
    for (worker_task_t *task; (task = take(worker, queue)) != NULL;) {
        task->dropped = dropped;
        task->done(task);
    }
}

void worker_destroy(worker_t **worker_ref)
{
    worker_t *worker = *worker_ref;
    if (!worker)
        return;
    pthread_mutex_lock(&worker->mutex);
    atomic_store(&worker->stop, true);
    pthread_cond_signal(&worker->to_thread);
    pthread_mutex_unlock(&worker->mutex);
    pthread_join(worker->thread, NULL);
    drop(worker, &worker->finished, false);
    drop(worker, &worker->waiting, true);
    zloop_poller_end(worker->loop, &worker->item);
    close(worker->item.fd);
    pthread_cond_destroy(&worker->to_thread);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
    *worker_ref = NULL;
}

void worker_submit(worker_t *worker, worker_task_t *task)
{
    task->dropped = false;
    pthread_mutex_lock(&worker->mutex);
    push(&worker->waiting, task);
    pthread_cond_signal(&worker->to_thread);
    pthread_mutex_unlock(&worker->mutex);
}

bool worker_stopping(const worker_t *worker)
{
    return atomic_load(&worker->stop);
}
