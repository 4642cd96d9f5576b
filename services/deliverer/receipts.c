#include "services/deliverer/receipts.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/wire/codec.h"

typedef struct {
    buf_t emitter; /* first frame */
    int partition;
    buf_t items; /* third frame */
} group_t;

struct receipts_t {
    char *node;
    zsock_t *socket;
    group_t *groups; /* the first n are collected; all keep their memory */
    size_t n, capacity;
    int64_t count;
};

receipts_t *receipts_new(const char *node, zsock_t *socket)
{
    receipts_t *receipts = MEM_NEW(receipts_t);
    receipts->node = mem_strdup(node);
    receipts->socket = socket;
    return receipts;
}

void receipts_destroy(receipts_t **receipts)
{
    if (!*receipts)
        return;
    for (size_t i = 0; i < (*receipts)->capacity; i++) {
        buf_release(&(*receipts)->groups[i].emitter);
        buf_release(&(*receipts)->groups[i].items);
    }
    free((*receipts)->groups);
    free((*receipts)->node);
    free(TAKE(*receipts));
}

static group_t *new_group(receipts_t *receipts)
{
    if (receipts->n == receipts->capacity) {
        size_t capacity = receipts->capacity * 2 + 8;
        receipts->groups = mem_realloc(receipts->groups, capacity * sizeof *receipts->groups);
        memset(receipts->groups + receipts->capacity, 0,
               (capacity - receipts->capacity) * sizeof *receipts->groups);
        receipts->capacity = capacity;
    }
    return &receipts->groups[receipts->n++];
}

/* Events of one batch come together, so the last group is the usual one. */
static group_t *group_of(receipts_t *receipts, slice_t emitter, int partition)
{
    for (size_t i = receipts->n; i-- > 0;) {
        group_t *group = &receipts->groups[i];
        if (group->partition == partition && slice_equal(buf_slice(&group->emitter), emitter))
            return group;
    }
    group_t *group = new_group(receipts);
    buf_clear(&group->emitter);
    buf_clear(&group->items);
    buf_add_slice(&group->emitter, emitter);
    group->partition = partition;
    return group;
}

void receipts_add(receipts_t *receipts, slice_t emitter, int partition, slice_t event_id,
                  bool unmatched)
{
    group_t *group = group_of(receipts, emitter, partition);
    codec_add(&receipted_table, &(receipted_t){.event_id = event_id, .unmatched = unmatched},
              &group->items);
    receipts->count++;
}

static void send_group(receipts_t *receipts, const group_t *group)
{
    AUTO_BUF head = {0};
    void *socket = zsock_resolve(receipts->socket);
    receipt_t receipt = {.version = RECEIPT_VERSION,
                         .node = slice_of(receipts->node),
                         .partition = group->partition};
    codec_add(&receipt_table, &receipt, &head);
    (void)zmq_send(socket, group->emitter.data, group->emitter.size, ZMQ_DONTWAIT | ZMQ_SNDMORE);
    (void)zmq_send(socket, head.data, head.size, ZMQ_DONTWAIT | ZMQ_SNDMORE);
    (void)zmq_send(socket, group->items.data, group->items.size, ZMQ_DONTWAIT);
}

void receipts_send(receipts_t *receipts)
{
    for (size_t i = 0; i < receipts->n; i++)
        send_group(receipts, &receipts->groups[i]);
    receipts->n = 0;
}

int64_t receipts_count(const receipts_t *receipts)
{
    return receipts->count;
}
