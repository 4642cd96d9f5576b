#include "common/base/clk.h"
#include "common/wire/codec.h"
#include "services/emitter/emitter_self.h"

enum { BURST = 200, FRAMES = 3 };

static result_t take_receipts(emitter_t *self, slice_t head, slice_t items)
{
    receipt_t receipt;
    receipted_t item;
    codec_reader_t reader;
    result_t r = codec_decode(head, &receipt_table, &receipt);
    if (r != RESULT_OK || receipt.version < 1)
        return RESULT_INVALID;
    int64_t now_ms = clk_mono_ms();
    codec_reader_init(&reader, items);
    while ((r = codec_next(&reader, &receipted_table, &item)) == RESULT_OK) {
        outgoing_event_t event;
        bool unmatched = item.unmatched != 0;
        if (receipt.partition < 0 || receipt.partition >= PARTITIONS)
            return RESULT_INVALID;
        if (!outgoing_receipt(self->outgoing, (int)receipt.partition, item.event_id, unmatched,
                              now_ms, &event))
            continue; /* receipted before */
        self->counts.receipts++;
        self->counts.unmatched += unmatched;
        recording_receipt(self, &event, unmatched ? RECEIPT_UNMATCHED : RECEIPT_MATCHED);
    }
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

/* Reads one message; false when there is none. */
static bool read_message(emitter_t *self, void *socket)
{
    zmq_msg_t frames[FRAMES];
    size_t n = 0;
    bool more = true;
    while (more) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, socket, ZMQ_DONTWAIT) < 0)
            break;
        more = zmq_msg_more(&msg);
        if (n < FRAMES)
            frames[n] = msg;
        else
            zmq_msg_close(&msg);
        n++;
    }
    slice_t slices[FRAMES] = {{0}};
    for (size_t i = 0; i < n && i < FRAMES; i++)
        slices[i] = (slice_t){zmq_msg_data(&frames[i]), zmq_msg_size(&frames[i])};
    if (n > 0 && (n != FRAMES || take_receipts(self, slices[1], slices[2]) != RESULT_OK))
        self->counts.bad_receipts++;
    for (size_t i = 0; i < n && i < FRAMES; i++)
        zmq_msg_close(&frames[i]);
    return n > 0;
}

int receipts_read(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    for (int i = 0; i < BURST && read_message(arg, zsock_resolve(socket)); i++)
        ;
    emitter_turn(arg);
    return 0;
}
