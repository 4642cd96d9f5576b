#include "services/deliverer/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/base/clk.h"
#include "common/base/mem.h"

enum {
    BURST = 64,      /* events taken from the kernel at once */
    ROUNDS_MAX = 16, /* looks in one turn; at each descriptor, when a time has come */
};

/* Of one descriptor; both 0: unknown to epoll and unwanted. */
typedef struct {
    unsigned wanted;
    unsigned registered; /* with epoll, REGISTERED added */
    void *tag;
} interest_t;

enum { REGISTERED = 8 };

struct watch_t {
    zloop_t *loop;
    watch_calls_t calls;
    void *owner;
    int epoll_fd;
    int timer_fd;
    zmq_pollitem_t poller;
    interest_t *interests; /* by descriptor */
    size_t n_interests;
    size_t n_registered; /* interests that epoll knows */
    int64_t due_us;      /* INT64_MAX: none */
};

static uint32_t to_epoll(unsigned events)
{
    return (events & WATCH_IN ? (uint32_t)EPOLLIN : 0) |
           (events & WATCH_OUT ? (uint32_t)EPOLLOUT : 0);
}

static void set_registered(watch_t *self, interest_t *interest, unsigned registered)
{
    self->n_registered += (registered != 0);
    self->n_registered -= (interest->registered != 0);
    interest->registered = registered;
}

/* Tolerates descriptors that their owner closed, or closed and opened again, without a word. */
static void register_fd(watch_t *self, int fd, unsigned events)
{
    interest_t *interest = &self->interests[fd];
    struct epoll_event event = {.events = to_epoll(events), .data.fd = fd};
    int op = interest->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int rc = epoll_ctl(self->epoll_fd, op, fd, &event);
    if (rc != 0 && (errno == ENOENT || errno == EEXIST))
        rc = epoll_ctl(self->epoll_fd, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    if (rc != 0 && errno != EBADF)
        PANIC("epoll_ctl: %s", strerror(errno));
    set_registered(self, interest, rc == 0 ? events | REGISTERED : 0);
}

static void unregister_fd(watch_t *self, int fd)
{
    if (self->interests[fd].registered)
        (void)epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    set_registered(self, &self->interests[fd], 0);
}

static void dispatch(watch_t *self, int fd, uint32_t epolled)
{
    interest_t *interest = &self->interests[fd];
    unsigned ready = (epolled & EPOLLIN ? WATCH_IN : 0) | (epolled & EPOLLOUT ? WATCH_OUT : 0);
    if (epolled & (EPOLLERR | EPOLLHUP))
        ready = WATCH_IN | WATCH_OUT | WATCH_ERROR;
    if (ready & interest->wanted) {
        ready &= interest->wanted | WATCH_ERROR;
        self->calls.on_ready(self->owner, fd, interest->tag, ready);
    } else if (interest->wanted) {
        register_fd(self, fd, interest->wanted);
    } else {
        unregister_fd(self, fd);
    }
}

/* Returns how many were ready, at most BURST. */
static int look(watch_t *self)
{
    struct epoll_event events[BURST];
    int n = epoll_wait(self->epoll_fd, events, BURST, 0);
    for (int i = 0; i < n; i++)
        if (events[i].data.fd != self->timer_fd)
            dispatch(self, events[i].data.fd, events[i].events);
    return n;
}

static void set_timer(watch_t *self)
{
    struct itimerspec at = {0};
    if (self->due_us != INT64_MAX) {
        int64_t due_us = self->due_us > 0 ? self->due_us : 1; /* 0 would disarm it */
        at.it_value.tv_sec = (time_t)(due_us / 1000000);
        at.it_value.tv_nsec = (long)(due_us % 1000000) * 1000;
    }
    if (timerfd_settime(self->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
        PANIC("timerfd_settime: %s", strerror(errno));
}

/* After a stall what has come is read before times fire, from all sockets: epoll gives those that
 * are ready in turn, so each is looked at some times, as one look may not read all of it. */
static void look_at_all(watch_t *self)
{
    for (size_t left = (self->n_registered / BURST + 1) * ROUNDS_MAX; left && look(self) > 0;
         left--)
        ;
}

static void look_a_while(watch_t *self)
{
    for (int left = ROUNDS_MAX; left && look(self) == BURST; left--)
        ;
}

static int on_poller(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    watch_t *self = arg;
    (void)loop;
    (void)item;
    bool due = self->due_us <= clk_mono_us();
    if (due) { /* ends its readiness; what is asked for from now on is another moment */
        self->due_us = INT64_MAX;
        set_timer(self);
        look_at_all(self);
    } else {
        look_a_while(self);
    }
    self->calls.on_turn(self->owner);
    if (due)
        self->calls.on_due(self->owner);
    return 0;
}

watch_t *watch_new(zloop_t *loop, const watch_calls_t *calls, void *owner)
{
    watch_t *self = MEM_NEW(watch_t);
    self->loop = loop;
    self->calls = *calls;
    self->owner = owner;
    self->due_us = INT64_MAX;
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    self->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = self->timer_fd};
    if (self->epoll_fd < 0 || self->timer_fd < 0 ||
        epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, self->timer_fd, &event) != 0)
        PANIC("epoll: %s", strerror(errno));
    self->poller = (zmq_pollitem_t){.fd = self->epoll_fd, .events = ZMQ_POLLIN};
    ENSURE(zloop_poller(loop, &self->poller, on_poller, self) == 0);
    zloop_poller_set_tolerant(loop, &self->poller);
    return self;
}

void watch_destroy(watch_t **watch)
{
    watch_t *self = *watch;
    if (!self)
        return;
    zloop_poller_end(self->loop, &self->poller);
    close(self->timer_fd);
    close(self->epoll_fd);
    free(self->interests);
    free(self);
    *watch = NULL;
}

static interest_t *interest_of(watch_t *self, int fd)
{
    size_t need = (size_t)fd + 1;
    if (need > self->n_interests) {
        size_t n = self->n_interests * 2 > need ? self->n_interests * 2 : need;
        self->interests = mem_realloc(self->interests, n * sizeof(interest_t));
        memset(self->interests + self->n_interests, 0,
               (n - self->n_interests) * sizeof(interest_t));
        self->n_interests = n;
    }
    return &self->interests[fd];
}

void watch_set(watch_t *self, int fd, void *tag, unsigned events)
{
    interest_t *interest = interest_of(self, fd);
    interest->wanted = events;
    interest->tag = tag;
    unsigned missing = events & ~interest->registered;
    /* a socket is writable nearly always, so that interest is not left registered */
    unsigned busy = interest->registered & ~events & WATCH_OUT;
    if (events == 0 && busy)
        unregister_fd(self, fd);
    else if (missing || busy)
        register_fd(self, fd, events);
}

void *watch_tag(const watch_t *self, int fd)
{
    return (size_t)fd < self->n_interests ? self->interests[fd].tag : NULL;
}

void watch_forget(watch_t *self, int fd)
{
    if ((size_t)fd >= self->n_interests)
        return;
    unregister_fd(self, fd);
    self->interests[fd] = (interest_t){0};
}

void watch_at(watch_t *self, int64_t due_us)
{
    if (due_us >= self->due_us)
        return;
    self->due_us = due_us;
    set_timer(self);
}
