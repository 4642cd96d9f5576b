#include "services/auditor/marks.h"
#include "common/base/mem.h"

#include <stdlib.h>

/* A store of a stage: what is durable is numbered by it. */
struct marks_node_t {
    char name[MARKS_NODE_MAX + 1];
    int64_t origin;    /* accepted */
    int64_t committed; /* <= origin */
    size_t n_stages;   /* boots that belong to it */
};

typedef struct {
    marks_node_t *node;
    marks_row_t row; /* number: committed; origin: not used, the node has it */
    int64_t accepted;
    bool collect; /* to be collected: something came since the last time */
} stage_t;

struct marks_t {
    marks_node_t **nodes;
    size_t n_nodes;
    stage_t *stages[MARKS_STAGES_MAX];
    size_t n_stages;
};

marks_t *marks_new(void)
{
    return MEM_NEW(marks_t);
}

void marks_destroy(marks_t **marks_ref)
{
    marks_t *marks = *marks_ref;
    if (!marks)
        return;
    for (size_t i = 0; i < marks->n_stages; i++)
        free(marks->stages[i]);
    for (size_t i = 0; i < marks->n_nodes; i++)
        free(marks->nodes[i]);
    free(marks->nodes);
    free(marks);
    *marks_ref = NULL;
}

static marks_node_t *find_node(marks_t *marks, slice_t name)
{
    for (size_t i = 0; i < marks->n_nodes; i++)
        if (slice_is(name, marks->nodes[i]->name))
            return marks->nodes[i];
    return NULL;
}

static marks_node_t *add_node(marks_t *marks, slice_t name)
{
    marks_node_t *node = MEM_NEW(marks_node_t);
    memcpy(node->name, name.data, name.size);
    marks->nodes = mem_realloc(marks->nodes, (marks->n_nodes + 1) * sizeof *marks->nodes);
    marks->nodes[marks->n_nodes++] = node;
    return node;
}

/* A node whose origin nobody needs goes with its last boot. */
static void drop_node(marks_t *marks, marks_node_t *node)
{
    if (node->n_stages || node->origin)
        return;
    for (size_t i = 0; i < marks->n_nodes; i++)
        if (marks->nodes[i] == node)
            marks->nodes[i] = marks->nodes[--marks->n_nodes];
    free(node);
}

/* The boot that was silent for longest and has nothing under way. False: there is none. */
static bool drop_stage(marks_t *marks)
{
    size_t oldest = marks->n_stages;
    for (size_t i = 0; i < marks->n_stages; i++) {
        const stage_t *stage = marks->stages[i];
        if (stage->collect || stage->accepted != stage->row.number)
            continue;
        if (oldest == marks->n_stages ||
            stage->row.heard_wall_ms < marks->stages[oldest]->row.heard_wall_ms)
            oldest = i;
    }
    if (oldest == marks->n_stages)
        return false;
    stage_t *stage = marks->stages[oldest];
    marks->stages[oldest] = marks->stages[--marks->n_stages];
    stage->node->n_stages--;
    drop_node(marks, stage->node);
    free(stage);
    return true;
}

static stage_t *find_stage(marks_t *marks, slice_t node, int64_t boot)
{
    for (size_t i = 0; i < marks->n_stages; i++)
        if (marks->stages[i]->row.boot == boot && slice_is(node, marks->stages[i]->row.node))
            return marks->stages[i];
    return NULL;
}

/* NULL: there is no room. */
static stage_t *add_stage(marks_t *marks, slice_t name, slice_t service, int64_t boot)
{
    if (marks->n_stages == MARKS_STAGES_MAX && !drop_stage(marks))
        return NULL;
    marks_node_t *node = find_node(marks, name);
    if (!node)
        node = add_node(marks, name);
    stage_t *stage = MEM_NEW(stage_t);
    stage->node = node;
    stage->row.boot = boot;
    stage->row.heard_mono_ms = -1;
    memcpy(stage->row.node, name.data, name.size);
    memcpy(stage->row.service, service.data, service.size);
    node->n_stages++;
    marks->stages[marks->n_stages++] = stage;
    return stage;
}

void marks_restore(marks_t *marks, const marks_row_t *row)
{
    slice_t name = slice_of(row->node);
    marks_node_t *node = find_node(marks, name);
    if (!node)
        node = add_node(marks, name);
    if (row->origin > node->origin)
        node->origin = node->committed = row->origin;
    if (row->boot == 0)
        return;
    stage_t *stage = add_stage(marks, name, slice_of(row->service), row->boot);
    stage->row.number = stage->accepted = row->number;
    stage->row.heard_wall_ms = row->heard_wall_ms;
}

static bool is_consistent(const audit_t *audit)
{
    return audit->version >= AUDIT_VERSION && audit->node.size > 0 &&
           audit->node.size <= MARKS_NODE_MAX && !memchr(audit->node.data, 0, audit->node.size) &&
           audit->service.size > 0 && audit->service.size <= MARKS_SERVICE_MAX &&
           !memchr(audit->service.data, 0, audit->service.size) && audit->boot > 0 &&
           audit->oldest >= 1 && audit->oldest <= audit->first && audit->count >= 0 &&
           audit->first <= INT64_MAX - audit->count;
}

result_t marks_offer(marks_t *marks, const audit_t *audit, int64_t wall_ms, int64_t mono_ms,
                     marks_verdict_t *ret_verdict)
{
    if (!is_consistent(audit))
        return RESULT_INVALID;
    stage_t *stage = find_stage(marks, audit->node, audit->boot);
    if (!stage)
        stage = add_stage(marks, audit->node, audit->service, audit->boot);
    if (!stage)
        return RESULT_TOO_LARGE;
    stage->row.heard_wall_ms = wall_ms;
    stage->row.heard_mono_ms = mono_ms;

    marks_verdict_t verdict = {.skip = audit->count, .node = stage->node};
    if (audit->oldest > stage->accepted + 1) {
        verdict.lost = audit->oldest - 1 - stage->accepted;
        stage->accepted = audit->oldest - 1;
    }
    int64_t repeated = stage->accepted + 1 - audit->first;
    if (repeated >= 0 && repeated < audit->count) {
        verdict.skip = repeated;
        verdict.take = audit->count - repeated;
        stage->accepted += verdict.take;
    }
    stage->collect |= audit->count > 0 || verdict.lost > 0;
    *ret_verdict = verdict;
    return RESULT_OK;
}

bool marks_take_origin(marks_node_t *node, int64_t origin)
{
    if (origin <= node->origin)
        return false;
    node->origin = origin;
    return true;
}

static marks_row_t *add_row(marks_rows_t *rows, size_t room)
{
    if (!rows->rows)
        rows->rows = mem_alloc(room * sizeof *rows->rows);
    return &rows->rows[rows->n_rows++];
}

void marks_collect(marks_t *marks, marks_rows_t *ret_rows)
{
    *ret_rows = (marks_rows_t){0};
    for (size_t i = 0; i < marks->n_stages; i++) {
        stage_t *stage = marks->stages[i];
        if (!stage->collect)
            continue;
        marks_row_t *row = add_row(ret_rows, marks->n_stages);
        *row = stage->row;
        row->number = stage->accepted;
        row->origin = stage->node->origin;
        stage->collect = false;
    }
}

void marks_committed(marks_t *marks, const marks_rows_t *rows)
{
    for (size_t i = 0; i < rows->n_rows; i++) {
        const marks_row_t *row = &rows->rows[i];
        stage_t *stage = find_stage(marks, slice_of(row->node), row->boot);
        if (!stage) /* it had only repeated, and made room for another one meanwhile */
            continue;
        stage->row.number = row->number;
        if (row->origin > stage->node->committed)
            stage->node->committed = row->origin;
    }
}

void marks_snapshot(const marks_t *marks, int64_t since_wall_ms, marks_rows_t *ret_rows)
{
    size_t room = marks->n_stages + marks->n_nodes;
    *ret_rows = (marks_rows_t){0};
    for (size_t i = 0; i < marks->n_stages; i++) {
        const stage_t *stage = marks->stages[i];
        if (stage->row.heard_wall_ms < since_wall_ms || stage->row.number == 0)
            continue;
        marks_row_t *row = add_row(ret_rows, room);
        *row = stage->row;
        row->origin = stage->node->committed;
    }
    for (size_t i = 0; i < marks->n_nodes; i++) {
        if (!marks->nodes[i]->committed)
            continue;
        marks_row_t *row = add_row(ret_rows, room);
        *row = (marks_row_t){.origin = marks->nodes[i]->committed};
        memcpy(row->node, marks->nodes[i]->name, sizeof row->node);
    }
}

void marks_rows_release(marks_rows_t *rows)
{
    free(rows->rows);
    *rows = (marks_rows_t){0};
}

void marks_each(const marks_t *marks, int64_t since_mono_ms, marks_fn *call, void *owner)
{
    for (size_t i = 0; i < marks->n_stages; i++)
        if (marks->stages[i]->row.heard_mono_ms >= since_mono_ms)
            call(owner, &marks->stages[i]->row);
}

void marks_of_node(const marks_t *marks, slice_t node, marks_fn *call, void *owner)
{
    for (size_t i = 0; i < marks->n_stages; i++)
        if (slice_is(node, marks->stages[i]->row.node))
            call(owner, &marks->stages[i]->row);
}

bool marks_heard(const marks_t *marks, const char *service, int64_t since_mono_ms)
{
    for (size_t i = 0; i < marks->n_stages; i++)
        if (marks->stages[i]->row.heard_mono_ms >= since_mono_ms &&
            strcmp(marks->stages[i]->row.service, service) == 0)
            return true;
    return false;
}
