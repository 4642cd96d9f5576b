#include "services/emitter/unmatched.h"

/* What is in memory is given up for one number. */
static void give_up(unmatched_t *unmatched, int64_t seq)
{
    for (size_t i = 0; i < unmatched->n; i++)
        if (unmatched->seqs[i] < seq)
            seq = unmatched->seqs[i];
    unmatched->again_from = seq;
    unmatched->reading = false;
    unmatched->n = 0;
}

void unmatched_wait(unmatched_t *unmatched, int64_t seq)
{
    if (unmatched_is_ahead(unmatched, seq))
        return;
    if (unmatched->n == UNMATCHED_MAX)
        give_up(unmatched, seq);
    else
        unmatched->seqs[unmatched->n++] = seq;
}

bool unmatched_is_ahead(const unmatched_t *unmatched, int64_t seq)
{
    return unmatched->again_from > 0 && seq >= unmatched->again_from;
}

void unmatched_passed(unmatched_t *unmatched, int64_t seq)
{
    unmatched->again_from = seq + 1;
    unmatched->reading = true;
}

void unmatched_ended(unmatched_t *unmatched)
{
    unmatched->again_from = 0;
    unmatched->reading = false;
}
