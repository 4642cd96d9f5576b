#include "services/auditor/answers.h"
#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "services/auditor/fill.h"
#include "services/auditor/replay_ops.h"
#include "services/auditor/search.h"
#include "services/auditor/story.h"

typedef struct {
    const char *op;
    result_t (*read)(desk_t *desk, const json_tree_t *q, json_writer_t *w, fault_t *fault);
    result_t (*change)(desk_t *desk, const json_tree_t *q, json_writer_t *w, int64_t *ret_job,
                       fault_t *fault); /* of a replay; one of both */
} op_t;

static result_t list_jobs(desk_t *desk, const json_tree_t *q, json_writer_t *w, fault_t *fault)
{
    (void)q;
    return replay_ops_list(desk, w, fault);
}

static const op_t ops[] = {
    {"fill", fill_answer, NULL},
    {"log", search_answer, NULL},
    {"event", story_answer, NULL},
    {"replay", NULL, replay_ops_start},
    {"replay_status", replay_ops_status, NULL},
    {"replay_cancel", NULL, replay_ops_cancel},
    {"replay_jobs", list_jobs, NULL},
};

static result_t find_op(const json_tree_t *question, const op_t **ret_op, fault_t *fault)
{
    const char *name = json_get_str(question, "op");
    if (!name && json_get(question, "from") && !json_get(question, "op"))
        name = "fill";
    for (size_t i = 0; name && i < sizeof ops / sizeof *ops; i++)
        if (strcmp(ops[i].op, name) == 0) {
            *ret_op = &ops[i];
            return RESULT_OK;
        }
    AUTO_BUF known = {0};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        buf_printf(&known, " %s", ops[i].op);
    return fault_set(fault, RESULT_INVALID, "the question needs a known \"op\", one of%s",
                     known.data);
}

static result_t add_members(desk_t *desk, slice_t question, json_writer_t *w,
                            answers_effect_t *effect, fault_t *fault)
{
    AUTO(json_tree) tree = NULL;
    const op_t *op = NULL;
    if (question.size == 0)
        return fault_set(fault, RESULT_INVALID, "the question is empty");
    result_t r = json_parse(question, &tree, fault);
    if (r == RESULT_OK)
        r = find_op(tree, &op, fault);
    if (r != RESULT_OK)
        return r;
    r = op->read ? op->read(desk, tree, w, fault) : op->change(desk, tree, w, &effect->job, fault);
    effect->failed = r == RESULT_IO || r == RESULT_CORRUPT;
    effect->stop = effect->failed && op->change;
    return r;
}

/* Whatever was asked: what history does not know because of damage. */
static void add_damaged(desk_t *desk, json_writer_t *w)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = archive_segments(desk->archive, &segments), n_damaged = 0;
    for (size_t i = 0; i < n; i++) {
        if (!segments[i].damaged)
            continue;
        if (n_damaged++ == 0) {
            json_key(w, "damaged");
            json_open_array(w);
        }
        json_open_object(w);
        json_key_int(w, "from", segments[i].span.first_id);
        json_key_int(w, "to", segments[i].last_id);
        json_close_object(w);
    }
    if (n_damaged)
        json_close_array(w);
}

static void begin(json_writer_t *w, buf_t *answer, bool ok)
{
    buf_clear(answer);
    json_begin(w, answer);
    json_open_object(w);
    json_key_bool(w, "ok", ok);
}

void answers_give(desk_t *desk, slice_t question, buf_t *ret_answer, answers_effect_t *ret_effect)
{
    json_writer_t w;
    fault_t fault = {""};
    *ret_effect = (answers_effect_t){0};
    begin(&w, ret_answer, true);
    result_t r = add_members(desk, question, &w, ret_effect, &fault);
    if (r != RESULT_OK) {
        begin(&w, ret_answer, false);
        json_key_str(&w, "error", *fault.text ? fault.text : result_str(r));
    }
    add_damaged(desk, &w);
    json_close_object(&w);
}
