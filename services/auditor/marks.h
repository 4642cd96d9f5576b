/* marks: which records of which stage are there (architecture.md 3.7). Pure.
 *
 * Records of one boot of a stage are accepted in the order of their numbers, without holes; what
 * comes twice is skipped; what comes too early waits to be sent again. When the stage itself no
 * longer has the next number, the hole is accepted and counted. A durable record (origin > 0) is
 * taken once per node, over all boots.
 *
 * Accepted is not committed: marks_collect says what the batch that is handed over brings about,
 * marks_committed that it is so, and only that may be told to stages.
 *
 *     marks_offer (marks, &audit, ..., &verdict)     per message: how much of it is new
 *     marks_take_origin (marks, verdict.node, n)      per durable record of what is new
 *     marks_collect (marks, &rows)                    handed over with the batch
 *     marks_committed (marks, &rows)                  after the commit; then publish them */
#ifndef PROVISOR_MARKS_H
#define PROVISOR_MARKS_H

#include <stdbool.h>

#include "common/wire/messages.h"

enum {
    MARKS_NODE_MAX = 63,
    MARKS_SERVICE_MAX = 31,
    MARKS_STAGES_MAX = 4096, /* boots remembered; beyond it the one silent for longest goes */
};

typedef struct marks_t marks_t;
typedef struct marks_node_t marks_node_t;

/* One boot of a stage, as it is stored and told. */
typedef struct {
    char node[MARKS_NODE_MAX + 1];
    char service[MARKS_SERVICE_MAX + 1];
    int64_t boot;
    int64_t number;        /* everything up to it is there */
    int64_t origin;        /* of the node: every durable record up to it is there */
    int64_t heard_wall_ms; /* last time that anything came */
    int64_t heard_mono_ms; /* the same; not stored; -1: not since the start */
} marks_row_t;

typedef struct {
    marks_row_t *rows;
    size_t n_rows;
} marks_rows_t;

typedef struct {
    int64_t lost; /* numbers before this message that nobody has any more */
    int64_t skip; /* of this message, from its first: there already, or too early */
    int64_t take; /* new, after those skipped */
    marks_node_t *node;
} marks_verdict_t;

marks_t *marks_new(void);
void marks_destroy(marks_t **marks);
/* At the start, from history. A row of boot 0 holds a node's origin only. */
void marks_restore(marks_t *marks, const marks_row_t *row);

/* Accepts what is new of a message. RESULT_INVALID: it contradicts itself; RESULT_TOO_LARGE: too
 * many stages are heard at once (it is ignored, and may be taken when it is sent again). */
result_t marks_offer(marks_t *marks, const audit_t *audit, int64_t wall_ms, int64_t mono_ms,
                     marks_verdict_t *ret_verdict) MUST_CHECK;
/* Is the durable record new? It counts as taken from then on. */
bool marks_take_origin(marks_node_t *node, int64_t origin);

/* What came since the last call: the state that holds when the batch is committed. Boots of which
 * only repeated records came are there too, because they have not heard what is committed. Ends
 * with marks_rows_release. */
void marks_collect(marks_t *marks, marks_rows_t *ret_rows);
void marks_committed(marks_t *marks, const marks_rows_t *rows);
/* Everything that is committed, for a new segment, except boots not heard since since_wall_ms. A
 * row of boot 0 for nodes that would otherwise lose their origin. */
void marks_snapshot(const marks_t *marks, int64_t since_wall_ms, marks_rows_t *ret_rows);
void marks_rows_release(marks_rows_t *rows);

/* Committed marks of the boots heard since since_mono_ms. */
typedef void marks_fn(void *owner, const marks_row_t *row);
void marks_each(const marks_t *marks, int64_t since_mono_ms, marks_fn *call, void *owner);
/* Committed marks of all boots of the node that are known. */
void marks_of_node(const marks_t *marks, slice_t node, marks_fn *call, void *owner);
/* Was a stage of this kind heard since then? */
bool marks_heard(const marks_t *marks, const char *service, int64_t since_mono_ms);

#endif
