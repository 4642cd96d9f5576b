#include "common/db/writer.h"
#include "common/base/clk.h"
#include "common/base/crash.h"
#include "common/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

enum {
    FULL_RETRY_MS = 1000,
    IDLE_MS = 1000,                      /* so long after the last commit it tidies up */
    CHECKPOINT_BYTES = 16 * 1024 * 1024, /* of WAL: not before idle */
    FREE_KEPT_BYTES = 16 * 1024 * 1024,  /* room of deleted rows that is kept for the next burst */
    SHRINK_STEP_BYTES = 1024 * 1024,     /* given back at once, so that a batch waits little */
};

/* What the thread has to tell the loop. Guarded by the mutex. */
typedef struct {
    bool full;
    bool committed;
    result_t failed; /* RESULT_OK: has not */
    fault_t why;     /* of full and failed */
} news_t;

struct writer_t {
    zloop_t *loop;
    db_t *db; /* the thread's */
    writer_calls_t calls;
    void *owner;
    pthread_t thread;
    int wake_fd; /* eventfd: the thread has news */
    zmq_pollitem_t item;

    /* The loop's: a batch from submit to done. NULL: idle. */
    void *batch;
    bool told_full;
    bool told_failed;

    pthread_mutex_t mutex;
    pthread_cond_t to_thread; /* handed or stop changed */
    pthread_cond_t to_loop;   /* news changed, for writer_wait */
    void *handed;             /* guarded: submitted and not taken by the thread yet */
    bool stop;                /* guarded */
    news_t news;              /* guarded */
};

static struct timespec mono_in(int64_t ms)
{
    int64_t at_ms = clk_mono_ms() + ms;
    return (struct timespec){.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000};
}

/* The eventfd's counter never overflows: the loop takes all of it at once. */
static void wake_loop(writer_t *writer)
{
    uint64_t one = 1;
    pthread_cond_signal(&writer->to_loop);
    ssize_t size = write(writer->wake_fd, &one, sizeof one);
    ENSURE(size == sizeof one || errno == EAGAIN);
}

static void tell_full(writer_t *writer, const fault_t *why)
{
    pthread_mutex_lock(&writer->mutex);
    if (!writer->news.full) {
        writer->news.full = true;
        writer->news.why = *why;
        wake_loop(writer);
    }
    pthread_mutex_unlock(&writer->mutex);
}

static void tell_committed(writer_t *writer)
{
    pthread_mutex_lock(&writer->mutex);
    writer->news.full = false;
    writer->news.committed = true;
    wake_loop(writer);
    pthread_mutex_unlock(&writer->mutex);
}

static void tell_failed(writer_t *writer, result_t result, const fault_t *why)
{
    pthread_mutex_lock(&writer->mutex);
    writer->news.failed = result;
    writer->news.why = *why;
    wake_loop(writer);
    pthread_mutex_unlock(&writer->mutex);
}

/* What the db says, if nobody said anything before. */
static result_t db_fault(const writer_t *writer, result_t r, fault_t *fault)
{
    return *fault->text ? r : fault_set(fault, r, "%s", db_error(writer->db));
}

/* One transaction. */
static result_t write_batch(writer_t *writer, void *batch, fault_t *fault)
{
    *fault->text = '\0';
    result_t r = db_begin(writer->db);
    if (r == RESULT_OK)
        r = writer->calls.apply(writer->owner, writer->db, batch, fault);
    if (r == RESULT_OK) {
        CRASH_POINT("writer.before_commit");
        r = db_commit(writer->db);
    }
    if (r == RESULT_OK)
        return r;
    db_fault(writer, r, fault);
    db_rollback(writer->db);
    return r;
}

/* Waits until the time has passed; true when the writer is to stop. */
static bool sleep_or_stop(writer_t *writer, int64_t ms)
{
    struct timespec until = mono_in(ms);
    int code = 0;
    pthread_mutex_lock(&writer->mutex);
    while (!writer->stop && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&writer->to_thread, &writer->mutex, &until);
    bool stop = writer->stop;
    pthread_mutex_unlock(&writer->mutex);
    return stop;
}

/* Moves the WAL into the file and gives room back, a step. A full disk puts it off. */
static result_t tidy(writer_t *writer, bool *ret_more)
{
    int64_t free_bytes = 0;
    *ret_more = false;
    result_t r = db_wal_bytes(writer->db) > 0 ? db_checkpoint(writer->db) : RESULT_OK;
    if (r == RESULT_OK)
        r = db_free_bytes(writer->db, &free_bytes);
    if (r == RESULT_OK && free_bytes > FREE_KEPT_BYTES) {
        r = db_shrink(writer->db, SHRINK_STEP_BYTES);
        *ret_more = r == RESULT_OK;
    }
    return r == RESULT_FULL || r == RESULT_AGAIN ? RESULT_OK : r;
}

/* On a full disk the WAL's own room is what there is: moved into the file, it begins anew. */
static result_t write_again(writer_t *writer, void *batch, fault_t *fault)
{
    bool more;
    result_t r = tidy(writer, &more);
    return r == RESULT_OK ? write_batch(writer, batch, fault)
                          : fault_set(fault, r, "%s", db_error(writer->db));
}

/* Writes the batch, however long the disk is full. False: nothing is ever written again. */
static bool commit_batch(writer_t *writer, void *batch)
{
    fault_t why;
    result_t r = write_batch(writer, batch, &why);
    while (r == RESULT_FULL || r == RESULT_AGAIN) {
        if (r == RESULT_FULL)
            tell_full(writer, &why);
        if (sleep_or_stop(writer, FULL_RETRY_MS))
            return false;
        r = write_again(writer, batch, &why);
    }
    if (r != RESULT_OK) {
        tell_failed(writer, r, &why);
        return false;
    }
    CRASH_POINT("writer.committed");
    tell_committed(writer);
    return true;
}

typedef enum { NEXT_BATCH, NEXT_IDLE, NEXT_STOP } next_t;

/* Waits for a batch; for idle_ms at most, -1: for ever. */
static next_t wait_next(writer_t *writer, int64_t idle_ms, void **ret_batch)
{
    struct timespec until = mono_in(idle_ms);
    int code = 0;
    pthread_mutex_lock(&writer->mutex);
    while (!writer->handed && !writer->stop && code != ETIMEDOUT)
        code = idle_ms < 0 ? pthread_cond_wait(&writer->to_thread, &writer->mutex)
                           : pthread_cond_timedwait(&writer->to_thread, &writer->mutex, &until);
    *ret_batch = writer->handed;
    writer->handed = NULL;
    next_t next = *ret_batch ? NEXT_BATCH : writer->stop ? NEXT_STOP : NEXT_IDLE;
    pthread_mutex_unlock(&writer->mutex);
    return next;
}

static void *run(void *self)
{
    writer_t *writer = self;
    int64_t idle_ms = IDLE_MS; /* what an earlier process left is tidied up as well */
    void *batch = NULL;
    next_t next;
    while ((next = wait_next(writer, idle_ms, &batch)) != NEXT_STOP) {
        bool more = false;
        if (next == NEXT_BATCH && !commit_batch(writer, batch))
            break;
        idle_ms = IDLE_MS;
        if (next == NEXT_BATCH && db_wal_bytes(writer->db) < CHECKPOINT_BYTES)
            continue;
        result_t r = tidy(writer, &more);
        if (r != RESULT_OK) {
            fault_t why = {""};
            db_fault(writer, r, &why);
            tell_failed(writer, r, &why);
            break;
        }
        if (next == NEXT_IDLE)
            idle_ms = more ? 0 : -1;
    }
    return NULL;
}

/* On the loop's thread: takes over the news and makes the calls. */
static void dispatch(writer_t *writer)
{
    pthread_mutex_lock(&writer->mutex);
    news_t news = writer->news;
    writer->news.committed = false;
    pthread_mutex_unlock(&writer->mutex);

    if (news.full != writer->told_full) {
        writer->told_full = news.full;
        writer->calls.on_full(writer->owner, news.full ? news.why.text : NULL);
    }
    if (news.committed) {
        void *batch = writer->batch;
        writer->batch = NULL;
        writer->calls.done(writer->owner, batch);
    }
    if (news.failed != RESULT_OK && !writer->told_failed) {
        writer->told_failed = true;
        writer->calls.on_failed(writer->owner, news.failed, news.why.text);
    }
}

static int on_wake(zloop_t *loop, zmq_pollitem_t *item, void *self)
{
    (void)loop;
    uint64_t count;
    ssize_t size = read(item->fd, &count, sizeof count);
    (void)size; /* EAGAIN: writer_wait was faster */
    dispatch(self);
    return 0;
}

static void start_thread(writer_t *writer)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->to_thread, &monotonic);
    pthread_cond_init(&writer->to_loop, &monotonic);
    pthread_condattr_destroy(&monotonic);

    /* Signals are the loop's: the thread would break its waits and see none of its flags. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&writer->thread, NULL, run, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0)
        PANIC("cannot start a thread: %s", strerror(code));
}

writer_t *writer_new(zloop_t *loop, db_t *db, const writer_calls_t *calls, void *owner)
{
    writer_t *writer = MEM_NEW(writer_t);
    *writer = (writer_t){.loop = loop, .db = db, .calls = *calls, .owner = owner};
    writer->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (writer->wake_fd < 0)
        PANIC("cannot make an eventfd: %s", strerror(errno));
    writer->item = (zmq_pollitem_t){.fd = writer->wake_fd, .events = ZMQ_POLLIN};
    zloop_poller(loop, &writer->item, on_wake, writer);
    start_thread(writer);
    return writer;
}

void writer_destroy(writer_t **writer_ref)
{
    writer_t *writer = *writer_ref;
    if (!writer)
        return;
    pthread_mutex_lock(&writer->mutex);
    writer->stop = true;
    pthread_cond_signal(&writer->to_thread);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    zloop_poller_end(writer->loop, &writer->item);
    close(writer->wake_fd);
    pthread_cond_destroy(&writer->to_loop);
    pthread_cond_destroy(&writer->to_thread);
    pthread_mutex_destroy(&writer->mutex);
    free(writer);
    *writer_ref = NULL;
}

bool writer_idle(const writer_t *writer)
{
    return !writer->batch && !writer->told_failed;
}

void writer_submit(writer_t *writer, void *batch)
{
    ENSURE(batch && writer_idle(writer));
    writer->batch = batch;
    pthread_mutex_lock(&writer->mutex);
    writer->handed = batch;
    pthread_cond_signal(&writer->to_thread);
    pthread_mutex_unlock(&writer->mutex);
}

result_t writer_wait(writer_t *writer, int64_t timeout_ms)
{
    struct timespec until = mono_in(timeout_ms);
    int code = 0;
    pthread_mutex_lock(&writer->mutex);
    while (writer->batch && !writer->news.committed && writer->news.failed == RESULT_OK &&
           code != ETIMEDOUT)
        code = pthread_cond_timedwait(&writer->to_loop, &writer->mutex, &until);
    bool waiting = writer->batch && !writer->news.committed && writer->news.failed == RESULT_OK;
    result_t failed = writer->news.failed;
    pthread_mutex_unlock(&writer->mutex);
    dispatch(writer);
    return failed != RESULT_OK ? failed : waiting ? RESULT_TIMEOUT : RESULT_OK;
}
