#include "services/emitter/settle.h"
#include "common/base/mem.h"
#include "common/base/result.h"

#include <stdlib.h>

typedef struct {
    int64_t seq, number; /* both rise */
    bool deletes;        /* when number is marked the row may go */
} item_t;

/* First in, first out. */
typedef struct {
    item_t *items; /* a ring: place p is at p & (capacity - 1) */
    size_t capacity, first, n;
} queue_t;

struct settle_t {
    queue_t accepted;  /* records added and not marked */
    queue_t unmatched; /* the same; deletes is always set */
    int64_t last_seq;  /* of the last accepted record added */
};

enum { CAPACITY_MIN = 64 };

static item_t *item_at(const queue_t *queue, size_t i)
{
    return &queue->items[(queue->first + i) & (queue->capacity - 1)];
}

static void push(queue_t *queue, item_t item)
{
    if (queue->n == queue->capacity) {
        queue_t bigger = {.capacity = queue->capacity ? queue->capacity * 2 : CAPACITY_MIN};
        bigger.items = mem_alloc(bigger.capacity * sizeof *bigger.items);
        for (; bigger.n < queue->n; bigger.n++)
            bigger.items[bigger.n] = *item_at(queue, bigger.n);
        free(queue->items);
        *queue = bigger;
    }
    queue->n++;
    *item_at(queue, queue->n - 1) = item;
}

static item_t pop(queue_t *queue)
{
    item_t item = *item_at(queue, 0);
    queue->first++;
    queue->n--;
    return item;
}

settle_t *settle_new(void)
{
    return MEM_NEW(settle_t);
}

void settle_destroy(settle_t **settle)
{
    if (!*settle)
        return;
    free((*settle)->accepted.items);
    free((*settle)->unmatched.items);
    free(*settle);
    *settle = NULL;
}

settle_next_t settle_accepted(settle_t *settle, int64_t seq, int64_t number, receipt_kind_t receipt)
{
    ENSURE(seq > settle->last_seq);
    settle->last_seq = seq;
    push(&settle->accepted, (item_t){seq, number, receipt == RECEIPT_MATCHED});
    return receipt == RECEIPT_UNMATCHED ? SETTLE_UNMATCHED : SETTLE_WAIT;
}

static item_t *find(const queue_t *queue, int64_t seq)
{
    size_t low = 0, high = queue->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (item_at(queue, middle)->seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < queue->n && item_at(queue, low)->seq == seq ? item_at(queue, low) : NULL;
}

settle_next_t settle_receipt(settle_t *settle, int64_t seq, receipt_kind_t receipt)
{
    if (seq > settle->last_seq)
        return SETTLE_STORE;
    if (receipt == RECEIPT_UNMATCHED)
        return SETTLE_UNMATCHED;
    item_t *item = find(&settle->accepted, seq);
    if (!item)
        return SETTLE_DELETE; /* marked */
    item->deletes = true;
    return SETTLE_WAIT;
}

void settle_unmatched(settle_t *settle, int64_t seq, int64_t number)
{
    push(&settle->unmatched, (item_t){seq, number, true});
}

static bool next_marked(queue_t *queue, int64_t number, int64_t *ret_seq)
{
    while (queue->n > 0 && item_at(queue, 0)->number <= number) {
        item_t item = pop(queue);
        if (!item.deletes)
            continue;
        *ret_seq = item.seq;
        return true;
    }
    return false;
}

bool settle_mark(settle_t *settle, int64_t number, int64_t *ret_seq)
{
    return next_marked(&settle->accepted, number, ret_seq) ||
           next_marked(&settle->unmatched, number, ret_seq);
}

int64_t settle_last(const settle_t *settle)
{
    return settle->last_seq;
}

size_t settle_unmatched_size(const settle_t *settle)
{
    return settle->unmatched.n;
}

size_t settle_size(const settle_t *settle)
{
    return settle->accepted.n + settle->unmatched.n;
}
