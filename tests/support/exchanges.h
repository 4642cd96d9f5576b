/* exchanges: a loop on which a test sends requests and waits for what came of them. */
#ifndef PROVISOR_EXCHANGES_H
#define PROVISOR_EXCHANGES_H

#include <czmq.h>

#include "common/base/mem.h"
#include "services/deliverer/exchange.h"

enum { EXCHANGES_MAX = 256, EXCHANGES_WAIT_MS = 30000 };

/* A result whose texts outlive the done call. */
typedef struct {
    void *tag;
    exchange_end_t end;
    int64_t status, duration_us;
    char *error, *response, *headers, *retry_after;
    size_t response_size;
} exchanged_t;

typedef struct exchanges_t {
    zloop_t *loop;
    exchanged_t results[EXCHANGES_MAX];
    size_t n, wanted;
    bool timed_out;
    bool sending; /* done must not be called now */
    /* Called within done, with the result just taken; may be NULL. */
    void (*on_result)(struct exchanges_t *exchanges, exchanged_t *result);
    void *more; /* for on_result */
} exchanges_t;

static inline int exchanges_stop(zloop_t *loop, int id, void *arg)
{
    (void)loop;
    (void)id;
    if (arg)
        *(bool *)arg = true;
    return -1;
}

static inline char *exchanges_copy(slice_t text)
{
    return mem_strndup(text.data ? text.data : "", text.size);
}

static inline void exchanges_done(void *owner, void *tag, const exchange_result_t *result)
{
    exchanges_t *self = owner;
    ENSURE(!self->sending && self->n < EXCHANGES_MAX);
    exchanged_t *kept = &self->results[self->n++];
    *kept = (exchanged_t){
        .tag = tag,
        .end = result->end,
        .status = result->status,
        .duration_us = result->duration_us,
        .error = exchanges_copy(result->error),
        .response = exchanges_copy(result->response),
        .headers = exchanges_copy(result->response_headers),
        .retry_after = exchanges_copy(result->retry_after),
        .response_size = result->response.size,
    };
    if (self->on_result)
        self->on_result(self, kept);
    if (self->n == self->wanted)
        zloop_timer(self->loop, 0, 1, exchanges_stop, NULL);
}

static inline void exchanges_init(exchanges_t *self)
{
    memset(self, 0, sizeof *self);
    self->loop = zloop_new();
}

static inline void exchanges_clear(exchanges_t *self)
{
    for (size_t i = 0; i < self->n; i++) {
        free(self->results[i].error);
        free(self->results[i].response);
        free(self->results[i].headers);
        free(self->results[i].retry_after);
    }
    self->n = 0;
}

static inline void exchanges_release(exchanges_t *self)
{
    exchanges_clear(self);
    zloop_destroy(&self->loop);
}

/* Runs the loop until n results are there. False when it took longer than EXCHANGES_WAIT_MS. */
static inline bool exchanges_wait(exchanges_t *self, size_t n)
{
    self->wanted = n;
    self->timed_out = false;
    if (self->n < n) {
        int guard = zloop_timer(self->loop, EXCHANGES_WAIT_MS, 1, exchanges_stop, &self->timed_out);
        zloop_start(self->loop);
        zloop_timer_end(self->loop, guard);
    }
    return !self->timed_out;
}

#endif
