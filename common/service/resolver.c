#include "common/service/resolver.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>

enum { FIRST_PAUSE_MS = 50 }; /* a peer that starts with us gets its name in a moment */

typedef struct {
    char *addresses[RESOLVER_ADDRESSES_MAX]; /* sorted, each once */
    size_t n_addresses;
    bool changed; /* not yet told to the loop */
    bool unknown; /* the back-off is over, and it has no address yet */
    bool unknown_told;
} answer_t;

/* What thread and loop share; the last one to leave ends it. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t stop_changed;
    bool stop;      /* the loop has left */
    int users;      /* loop and thread */
    int changed_fd; /* eventfd: an answer has changed */
    int64_t interval_ms;
    char **names;
    answer_t *answers;
    size_t n_names;
} shared_t;

struct resolver_t {
    zloop_t *loop;
    shared_t *shared;
    resolver_fn *on_change;
    resolver_unknown_fn *on_unknown;
    void *owner;
};

static void answer_clear(answer_t *answer)
{
    for (size_t i = 0; i < answer->n_addresses; i++)
        free(answer->addresses[i]);
    *answer = (answer_t){0};
}

static void shared_leave(shared_t *shared)
{
    pthread_mutex_lock(&shared->mutex);
    bool last = --shared->users == 0;
    pthread_mutex_unlock(&shared->mutex);
    if (!last)
        return;
    for (size_t i = 0; i < shared->n_names; i++) {
        free(shared->names[i]);
        answer_clear(&shared->answers[i]);
    }
    free(shared->names);
    free(shared->answers);
    close(shared->changed_fd);
    pthread_cond_destroy(&shared->stop_changed);
    pthread_mutex_destroy(&shared->mutex);
    free(shared);
}

/* Keeps the order and each address once; what is beyond the bound is left out. */
static void answer_add(answer_t *answer, const char *address)
{
    size_t at = 0;
    while (at < answer->n_addresses && strcmp(answer->addresses[at], address) < 0)
        at++;
    if (answer->n_addresses == RESOLVER_ADDRESSES_MAX ||
        (at < answer->n_addresses && strcmp(answer->addresses[at], address) == 0))
        return;
    memmove(&answer->addresses[at + 1], &answer->addresses[at],
            (answer->n_addresses - at) * sizeof *answer->addresses);
    answer->addresses[at] = mem_strdup(address);
    answer->n_addresses++;
}

static void answer_add_family(answer_t *answer, const struct addrinfo *list, int family)
{
    for (const struct addrinfo *info = list; info; info = info->ai_next) {
        char text[INET6_ADDRSTRLEN], address[INET6_ADDRSTRLEN + 2];
        if (info->ai_family != family || getnameinfo(info->ai_addr, info->ai_addrlen, text,
                                                     sizeof text, NULL, 0, NI_NUMERICHOST) != 0)
            continue;
        snprintf(address, sizeof address, family == AF_INET6 ? "[%s]" : "%s", text);
        answer_add(answer, address);
    }
}

/* False when the name could not be looked up. */
static bool look_up(const char *name, answer_t *ret_answer)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    if (getaddrinfo(name, NULL, &hints, &list) != 0)
        return false;
    answer_add_family(ret_answer, list, AF_INET);
    if (ret_answer->n_addresses == 0)
        answer_add_family(ret_answer, list, AF_INET6);
    freeaddrinfo(list);
    return ret_answer->n_addresses > 0;
}

bool resolver_add_endpoints(const char *name, const char *port, buf_t *ret_list)
{
    answer_t answer = {0};
    bool found = look_up(name, &answer);
    for (size_t i = 0; i < answer.n_addresses; i++)
        buf_printf(ret_list, "tcp://%s:%s ", answer.addresses[i], port);
    answer_clear(&answer);
    return found;
}

static bool answer_equal(const answer_t *a, const answer_t *b)
{
    if (a->n_addresses != b->n_addresses)
        return false;
    for (size_t i = 0; i < a->n_addresses; i++)
        if (strcmp(a->addresses[i], b->addresses[i]) != 0)
            return false;
    return true;
}

static void note_unknown(shared_t *shared, size_t name)
{
    pthread_mutex_lock(&shared->mutex);
    answer_t *known = &shared->answers[name];
    if (known->n_addresses == 0 && !known->unknown) {
        known->unknown = true;
        (void)eventfd_write(shared->changed_fd, 1);
    }
    pthread_mutex_unlock(&shared->mutex);
}

/* False when the name could not be looked up. */
static bool look_up_one(shared_t *shared, size_t name)
{
    answer_t fresh = {0};
    if (!look_up(shared->names[name], &fresh)) /* names never change: no lock */
        return false;
    pthread_mutex_lock(&shared->mutex);
    answer_t *known = &shared->answers[name], old = fresh;
    if (!answer_equal(known, &fresh)) {
        old = *known;
        *known = fresh;
        known->changed = true;
        (void)eventfd_write(shared->changed_fd, 1);
    }
    pthread_mutex_unlock(&shared->mutex);
    answer_clear(&old);
    return true;
}

/* True when the loop has left. */
static bool pause_for(shared_t *shared, int64_t pause_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + pause_ms % 1000 * 1000000;
    until.tv_sec += pause_ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&shared->mutex);
    int waited = 0;
    while (!shared->stop && waited == 0)
        waited = pthread_cond_timedwait(&shared->stop_changed, &shared->mutex, &until);
    bool stop = shared->stop;
    pthread_mutex_unlock(&shared->mutex);
    return stop;
}

static void *run(void *arg)
{
    shared_t *shared = arg;
    int64_t pause_ms = FIRST_PAUSE_MS;
    bool all;
    do {
        all = true;
        for (size_t i = 0; i < shared->n_names; i++) {
            bool found = look_up_one(shared, i);
            if (!found && pause_ms == shared->interval_ms)
                note_unknown(shared, i);
            all = all && found;
        }
        pause_ms = all || pause_ms * 2 > shared->interval_ms ? shared->interval_ms : pause_ms * 2;
    } while (!pause_for(shared, pause_ms));
    shared_leave(shared);
    return NULL;
}

/* Takes a changed answer out; the addresses are the caller's. */
static bool take_changed(shared_t *shared, size_t name, answer_t *ret_answer)
{
    pthread_mutex_lock(&shared->mutex);
    answer_t *answer = &shared->answers[name];
    bool changed = answer->changed;
    answer->changed = false;
    for (size_t i = 0; changed && i < answer->n_addresses; i++)
        answer_add(ret_answer, answer->addresses[i]);
    pthread_mutex_unlock(&shared->mutex);
    return changed;
}

static bool take_unknown(shared_t *shared, size_t name)
{
    pthread_mutex_lock(&shared->mutex);
    answer_t *answer = &shared->answers[name];
    bool news = answer->unknown && !answer->unknown_told;
    answer->unknown_told |= news;
    pthread_mutex_unlock(&shared->mutex);
    return news;
}

static int on_changed(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    resolver_t *resolver = arg;
    eventfd_t count;
    (void)eventfd_read(item->fd, &count);
    for (size_t i = 0; i < resolver->shared->n_names; i++) {
        answer_t answer = {0};
        if (take_changed(resolver->shared, i, &answer))
            resolver->on_change(resolver->owner, i, answer.addresses, answer.n_addresses);
        answer_clear(&answer);
        if (take_unknown(resolver->shared, i))
            resolver->on_unknown(resolver->owner, i);
    }
    return 0;
}

static shared_t *shared_new(char *const *names, size_t n_names, int64_t interval_ms)
{
    shared_t *shared = MEM_NEW(shared_t);
    *shared = (shared_t){.users = 2, .n_names = n_names, .interval_ms = interval_ms};
    shared->names = mem_alloc(n_names * sizeof *shared->names);
    shared->answers = mem_alloc(n_names * sizeof *shared->answers);
    for (size_t i = 0; i < n_names; i++)
        shared->names[i] = mem_strdup(names[i]);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&shared->stop_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&shared->mutex, NULL);
    shared->changed_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ENSURE(shared->changed_fd >= 0);
    return shared;
}

resolver_t *resolver_new(zloop_t *loop, char *const *names, size_t n_names, int64_t interval_ms,
                         resolver_fn *on_change, resolver_unknown_fn *on_unknown, void *owner)
{
    resolver_t *resolver = MEM_NEW(resolver_t);
    *resolver =
        (resolver_t){loop, shared_new(names, n_names, interval_ms), on_change, on_unknown, owner};
    zmq_pollitem_t item = {.fd = resolver->shared->changed_fd, .events = ZMQ_POLLIN};
    zloop_poller(loop, &item, on_changed, resolver);
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, run, resolver->shared) != 0)
        PANIC("cannot start a thread");
    pthread_attr_destroy(&attributes);
    return resolver;
}

void resolver_destroy(resolver_t **resolver_p)
{
    resolver_t *resolver = *resolver_p;
    if (!resolver)
        return;
    zmq_pollitem_t item = {.fd = resolver->shared->changed_fd, .events = ZMQ_POLLIN};
    zloop_poller_end(resolver->loop, &item);
    pthread_mutex_lock(&resolver->shared->mutex);
    resolver->shared->stop = true;
    pthread_cond_signal(&resolver->shared->stop_changed);
    pthread_mutex_unlock(&resolver->shared->mutex);
    shared_leave(resolver->shared);
    free(resolver);
    *resolver_p = NULL;
}
