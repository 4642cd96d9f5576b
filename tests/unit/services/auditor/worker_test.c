#include "tests/support/unit.h"

#include "services/auditor/worker.h"

enum { TASKS = 100 };

typedef struct {
    worker_task_t task;
    int number;
    int *order; /* the next number that run expects */
    int *done;
    int total;
    bool ran;
    worker_t *wait_for; /* runs until that one is to stop */
    zloop_t *loop;
} job_t;

static void run(worker_task_t *task)
{
    job_t *job = (job_t *)task;
    job->ran = *job->order == job->number;
    ++*job->order;
    while (job->wait_for && !worker_stopping(job->wait_for))
        ;
}

static int end(zloop_t *loop, int timer, void *arg)
{
    (void)loop, (void)timer, (void)arg;
    return -1;
}

static void done(worker_task_t *task)
{
    job_t *job = (job_t *)task;
    assert_true(task->dropped || job->ran);
    if (++*job->done == job->total)
        zloop_timer(job->loop, 0, 1, end, NULL);
}

static void tasks_run_in_order_and_are_told(void **state)
{
    (void)state;
    static job_t jobs[TASKS];
    int order = 0, told = 0;
    zloop_t *loop = zloop_new();
    worker_t *worker = worker_new(loop);
    for (int i = 0; i < TASKS; i++) {
        jobs[i] = (job_t){.task = {.run = run, .done = done},
                          .number = i,
                          .order = &order,
                          .done = &told,
                          .total = TASKS,
                          .loop = loop};
        worker_submit(worker, &jobs[i].task);
    }
    zloop_start(loop);
    assert_int_equal(told, TASKS);
    worker_destroy(&worker);
    zloop_destroy(&loop);
}

static void what_waits_at_the_end_is_dropped(void **state)
{
    (void)state;
    static job_t jobs[3];
    int order = 0, told = 0;
    zloop_t *loop = zloop_new();
    worker_t *worker = worker_new(loop);
    for (int i = 0; i < 3; i++) {
        jobs[i] = (job_t){.task = {.run = run, .done = done},
                          .number = i,
                          .order = &order,
                          .done = &told,
                          .total = 99,
                          .loop = loop,
                          .wait_for = worker};
        worker_submit(worker, &jobs[i].task);
    }
    worker_destroy(&worker);
    assert_int_equal(told, 3);
    assert_true(jobs[2].task.dropped);
    assert_false(jobs[2].ran);
    zloop_destroy(&loop);
}

int main(void)
{
    zsys_init();
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_in_order_and_are_told),
        cmocka_unit_test(what_waits_at_the_end_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
