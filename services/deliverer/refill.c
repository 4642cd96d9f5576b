#include "services/deliverer/refill.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "services/deliverer/restart.h"

enum { ROWS = 16 };

typedef struct {
    int64_t handler_id;
    uint64_t object;
    int64_t after_seq;
    int64_t last_seq; /* nothing that it wants is later */
} want_t;

struct refill_t {
    deliverer_t *deliverer;
    want_t *wants; /* the first n_waiting wait for a commit, those behind are to be tried */
    size_t n_waiting, n, capacity;
};

refill_t *refill_new(deliverer_t *deliverer)
{
    refill_t *refill = MEM_NEW(refill_t);
    refill->deliverer = deliverer;
    return refill;
}

void refill_destroy(refill_t **refill)
{
    if (!*refill)
        return;
    free((*refill)->wants);
    free(TAKE(*refill));
}

static void add(refill_t *refill, const want_t *want)
{
    if (refill->n == refill->capacity) {
        refill->capacity = refill->capacity * 2 + 16;
        refill->wants = mem_realloc(refill->wants, refill->capacity * sizeof *refill->wants);
    }
    refill->wants[refill->n++] = *want;
}

void refill_want(refill_t *refill, int64_t handler_id, uint64_t object, int64_t after_seq)
{
    want_t want = {handler_id, object, after_seq, refill->deliverer->last_seq};
    add(refill, &want);
}

/* Rows of the lane behind the want, without those that are final already; at most LANES_KEEP. */
static result_t read_lane(deliverer_t *d, const want_t *want, lanes_delivery_t *ret_rows,
                          size_t *ret_n)
{
    queue_delivery_t rows[ROWS];
    size_t n_rows = ROWS;
    int64_t after_seq = want->after_seq;
    *ret_n = 0;
    while (*ret_n == 0 && n_rows == ROWS) {
        result_t r = backlog_lane(d->backlog, want->handler_id, want->object, after_seq, ROWS, rows,
                                  &n_rows);
        if (r != RESULT_OK)
            return r;
        for (size_t i = 0; i < n_rows && *ret_n < LANES_KEEP; i++) {
            after_seq = rows[i].seq;
            if (!busy_find(d->busy, rows[i].seq, want->handler_id, NULL))
                ret_rows[(*ret_n)++] = restart_delivery(d, &rows[i]);
        }
    }
    return RESULT_OK;
}

/* False: it has to wait for a commit, or the store cannot be read just now. */
static bool answer(deliverer_t *d, const want_t *want)
{
    lanes_delivery_t rows[LANES_KEEP];
    size_t n = 0;
    result_t r = read_lane(d, want, rows, &n);
    if (r != RESULT_OK)
        deliverer_unread(d, r, "the queue cannot be read");
    if (n)
        lanes_refill(d->lanes, want->handler_id, want->object, rows, n, clk_mono_ms());
    if (n || r != RESULT_OK || d->committed_seq < want->last_seq)
        return n > 0;
    lanes_refill(d->lanes, want->handler_id, want->object, NULL, 0, clk_mono_ms());
    return true;
}

void refill_answer(refill_t *refill)
{
    deliverer_t *d = refill->deliverer;
    while (refill->n > refill->n_waiting && !d->unreadable && !d->failed) {
        want_t want = refill->wants[--refill->n];
        if (answer(d, &want))
            continue;
        add(refill, &want);
        if (d->unreadable || d->failed)
            break; /* it has no answer yet: asked again when the store can be read */
        refill->wants[refill->n - 1] = refill->wants[refill->n_waiting];
        refill->wants[refill->n_waiting++] = want;
    }
}

void refill_committed(refill_t *refill)
{
    refill->n_waiting = 0;
}

void refill_drop(refill_t *refill, int64_t handler_id)
{
    deliverer_t *d = refill->deliverer;
    AUTO_FREE want_t *dropped = mem_alloc((refill->n + 1) * sizeof *dropped);
    size_t n_dropped = 0;
    size_t kept = 0;
    size_t kept_waiting = 0;
    for (size_t i = 0; i < refill->n; i++) {
        if (refill->wants[i].handler_id == handler_id) {
            dropped[n_dropped++] = refill->wants[i];
            continue;
        }
        kept_waiting += i < refill->n_waiting;
        refill->wants[kept++] = refill->wants[i];
    }
    refill->n = kept;
    refill->n_waiting = kept_waiting;
    for (size_t i = 0; i < n_dropped; i++)
        lanes_refill(d->lanes, handler_id, dropped[i].object, NULL, 0, clk_mono_ms());
}
