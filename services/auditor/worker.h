/* worker: a thread that runs tasks one after the other, so that the event loop never waits for what
 * they do. The auditor has two: one answers questions, one looks after the segments.
 *
 *     typedef struct { worker_task_t task; ... } question_t;       task stands first
 *     question->task = (worker_task_t) {.run = answer, .done = send_answer};
 *     worker_submit (worker, &question->task);
 *
 * A task belongs to the worker from submit to done. */
#ifndef PROVISOR_WORKER_H
#define PROVISOR_WORKER_H

#include <czmq.h>

typedef struct worker_t worker_t;
typedef struct worker_task_t worker_task_t;

struct worker_task_t {
    /* On the thread. */
    void (*run)(worker_task_t *task);
    /* On the loop's thread, after run; or without it, with dropped set, when the worker is
     * destroyed first. The task is the owner's again. */
    void (*done)(worker_task_t *task);
    bool dropped;
    worker_task_t *next; /* the worker's */
};

worker_t *worker_new(zloop_t *loop);
/* Waits for the task that runs; those that wait are dropped. Not from within done. */
void worker_destroy(worker_t **worker);
void worker_submit(worker_t *worker, worker_task_t *task);
/* From any thread: the worker is to be destroyed, a long task comes to its end. */
bool worker_stopping(const worker_t *worker);

#endif
