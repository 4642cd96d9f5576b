/* unmatched: rows whose event.unmatched waits for room. Memory holds some of them; when there are
 * more, it only knows from which row on the journal has to be read again. Pure.
 *
 * Reading again must not begin while an event.unmatched is on its way, so that none is added twice:
 * what was added since is behind the row that is read next. */
#ifndef PROVISOR_UNMATCHED_H
#define PROVISOR_UNMATCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UNMATCHED_MAX = 1024 };

/* Zero-initialise. */
typedef struct {
    int64_t seqs[UNMATCHED_MAX];
    size_t n;
    int64_t again_from; /* rows from this one on wait, whichever they are; 0: none */
    bool reading;       /* again: has begun */
} unmatched_t;

/* This row waits. */
void unmatched_wait(unmatched_t *unmatched, int64_t seq);
/* Does it wait to be read again? */
bool unmatched_is_ahead(const unmatched_t *unmatched, int64_t seq);
/* The rows up to this one were read again. */
void unmatched_passed(unmatched_t *unmatched, int64_t seq);
/* All were. */
void unmatched_ended(unmatched_t *unmatched);

#endif
