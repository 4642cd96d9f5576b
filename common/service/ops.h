/* ops: a JSON question {"op":"...", ...} answered by the function that a table names. No sockets.
 *
 * The answer is {"ok":true, members of the function} or {"ok":false,"error":"text"}, whatever the
 * question is. */
#ifndef PROVISOR_OPS_H
#define PROVISOR_OPS_H

#include "common/service/service.h"

typedef struct {
    const service_op_t *ops; /* ends with {NULL}; NULL: none */
    void *self;
} ops_table_t;

/* name: of who answers, for messages. The first table that has the op wins. */
void ops_answer(const char *name, const ops_table_t *tables, size_t n_tables, slice_t question,
                buf_t *ret_answer);

#endif
