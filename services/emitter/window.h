/* window: the events of one partition that memory holds, by position: from the oldest one without
 * a receipt onwards, the receipted ones in between included (as ids). It is bounded by position, so
 * that one event that gets no receipt stops the partition instead of letting the ids that a
 * deliverer must remember grow. Pure. */
#ifndef PROVISOR_WINDOW_H
#define PROVISOR_WINDOW_H

#include "common/base/ulid.h"

typedef struct {
    int64_t events_max;
    int64_t bytes_max; /* of events without a receipt; one event fits always */
} window_limits_t;

typedef struct window_slot_t window_slot_t;

/* Zero-initialise; ends with window_release (). */
typedef struct {
    window_slot_t *slots; /* a ring: position p is at p & (capacity - 1) */
    size_t capacity;      /* 0 or a power of two */
    size_t first, n;      /* position of the oldest; positions in use */
    size_t n_waiting;     /* without a receipt */
    int64_t bytes;        /* of those */
} window_t;

void window_release(window_t *window);
bool window_fits(const window_t *window, const window_limits_t *limits, size_t size_bytes);
/* At most half full: worth a look at the disk. */
bool window_is_low(const window_t *window, const window_limits_t *limits);
/* id is above every one before it. */
void window_push(window_t *window, const ulid_t *id, void *event, size_t size_bytes);
/* The event with this id becomes receipted, and the receipted ones at the front go. hold: this one
 * stays at its place until window_let_go. NULL: it is not there or receipted already. */
void *window_take(window_t *window, slice_t id, bool hold);
void window_let_go(window_t *window, slice_t id);
/* The oldest without a receipt or held, NULL when there is none. */
const ulid_t *window_oldest(const window_t *window);

#endif
