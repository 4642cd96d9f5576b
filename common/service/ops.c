#include "common/service/ops.h"
#include "common/base/cleanup.h"

static bool find(const ops_table_t *tables, size_t n_tables, const char *name,
                 const service_op_t **ret_op, void **ret_self)
{
    for (size_t i = 0; i < n_tables; i++)
        for (const service_op_t *op = tables[i].ops; op && op->op; op++)
            if (strcmp(op->op, name) == 0) {
                *ret_op = op;
                *ret_self = tables[i].self;
                return true;
            }
    return false;
}

static result_t unknown(const char *who, const ops_table_t *tables, size_t n_tables,
                        const char *name, fault_t *fault)
{
    AUTO_BUF known = {0};
    for (size_t i = 0; i < n_tables; i++)
        for (const service_op_t *op = tables[i].ops; op && op->op; op++)
            buf_printf(&known, " %s", op->op);
    return fault_set(fault, RESULT_INVALID, "%s has no op \"%.64s\"; it has%s", who, name,
                     buf_slice(&known).data);
}

static result_t answer_members(const char *who, const ops_table_t *tables, size_t n_tables,
                               slice_t question, json_writer_t *w, fault_t *fault)
{
    AUTO(json_tree) tree = NULL;
    const service_op_t *op;
    void *self;
    result_t r = json_parse(question, &tree, fault);
    if (r != RESULT_OK)
        return r;
    const char *name = json_get_str(tree, "op");
    if (!name)
        return fault_set(fault, RESULT_INVALID, "expected an object with a text \"op\"");
    if (!find(tables, n_tables, name, &op, &self))
        return unknown(who, tables, n_tables, name, fault);
    return op->answer(self, tree, w, fault);
}

static void begin(json_writer_t *w, buf_t *answer, bool ok)
{
    buf_clear(answer);
    json_begin(w, answer);
    json_open_object(w);
    json_key_bool(w, "ok", ok);
}

void ops_answer(const char *name, const ops_table_t *tables, size_t n_tables, slice_t question,
                buf_t *ret_answer)
{
    json_writer_t w;
    fault_t fault = {""};
    begin(&w, ret_answer, true);
    result_t r = answer_members(name, tables, n_tables, question, &w, &fault);
    if (r != RESULT_OK) { /* what the op has written so far is forgotten */
        begin(&w, ret_answer, false);
        json_key_str(&w, "error", *fault.text ? fault.text : result_str(r));
    }
    json_close_object(&w);
}
