#include "services/deliverer/outbox.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/wire/codec.h"

typedef struct {
    int64_t number; /* the publisher's */
    int64_t seq;
} told_t;

struct outbox_t {
    backlog_t *backlog;
    audit_publisher_t *audit;
    int64_t last_seq;    /* given */
    int64_t newest_seq;  /* of the rows at the start; nothing was given from there ... */
    int64_t unused_seq;  /* ... up to this one */
    int64_t next_told;   /* seq of the next record to be told */
    int64_t settled_seq; /* the auditor has everything up to it */
    told_t *told;        /* told and not marked: first .. first + n - 1; bounded by the
                            publisher's window */
    size_t first, n, capacity;
};

outbox_t *outbox_new(backlog_t *backlog, int64_t first_seq, int64_t newest_seq, int64_t last_seq)
{
    outbox_t *outbox = MEM_NEW(outbox_t);
    outbox->backlog = backlog;
    outbox->last_seq = outbox->unused_seq = last_seq;
    outbox->newest_seq = newest_seq;
    outbox->next_told = first_seq ? first_seq : last_seq + 1;
    outbox->settled_seq = outbox->next_told - 1;
    return outbox;
}

void outbox_destroy(outbox_t **outbox)
{
    if (!*outbox)
        return;
    free((*outbox)->told);
    free(TAKE(*outbox));
}

void outbox_set_audit(outbox_t *outbox, audit_publisher_t *audit)
{
    outbox->audit = audit;
}

int64_t outbox_next_seq(outbox_t *outbox)
{
    return ++outbox->last_seq;
}

static void remember(outbox_t *outbox, int64_t number, int64_t seq)
{
    if (outbox->first + outbox->n == outbox->capacity) {
        if (outbox->first && outbox->first >= outbox->n) {
            memmove(outbox->told, outbox->told + outbox->first, outbox->n * sizeof *outbox->told);
            outbox->first = 0;
        }
        if (outbox->n >= outbox->capacity / 2) {
            outbox->capacity = outbox->capacity * 2 + 64;
            outbox->told = mem_realloc(outbox->told, outbox->capacity * sizeof *outbox->told);
        }
    }
    outbox->told[outbox->first + outbox->n++] = (told_t){number, seq};
}

static void tell(outbox_t *outbox, int64_t seq, const record_t *record)
{
    record_t told = *record;
    told.origin = seq;
    int64_t upto = seq == outbox->newest_seq ? outbox->unused_seq : seq;
    remember(outbox, audit_add(outbox->audit, &told), upto);
    outbox->next_told = upto + 1;
}

void outbox_committed(outbox_t *outbox, int64_t seq, slice_t encoded)
{
    record_t record;
    if (!outbox->audit || seq != outbox->next_told || !audit_room(outbox->audit))
        return;
    ENSURE(codec_decode(encoded, &record_table, &record) == RESULT_OK);
    tell(outbox, seq, &record);
}

static bool tell_stored(void *self, int64_t seq, const record_t *record)
{
    outbox_t *outbox = self;
    if (!audit_room(outbox->audit))
        return false;
    tell(outbox, seq, record);
    return true;
}

result_t outbox_pump(outbox_t *outbox)
{
    if (!outbox->audit || outbox->next_told > outbox->last_seq)
        return RESULT_OK;
    return backlog_outbox(outbox->backlog, outbox->next_told, tell_stored, outbox);
}

int64_t outbox_marked(outbox_t *outbox, int64_t number)
{
    int64_t before = outbox->settled_seq;
    while (outbox->n && outbox->told[outbox->first].number <= number) {
        outbox->settled_seq = outbox->told[outbox->first].seq;
        outbox->first++;
        outbox->n--;
    }
    return outbox->settled_seq > before ? outbox->settled_seq : 0;
}

int64_t outbox_size(const outbox_t *outbox)
{
    return outbox->last_seq - outbox->settled_seq;
}
