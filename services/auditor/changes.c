#include "services/auditor/changes.h"
#include "common/base/mem.h"

#include <stdio.h>

enum { BURST = 1000 };

struct changes_t {
    handlers_t *handlers;
    char *node;
    history_t *history;
    const log_t *log;
    int64_t seq; /* read up to it; in history or on the way there */
    bool more;   /* the log was not read to its end */
    bool failed; /* and it was told */
};

result_t changes_new(const char *dir, const char *node, history_t *history, const log_t *log,
                     changes_t **ret_changes, fault_t *fault)
{
    handlers_t *handlers = NULL;
    result_t r = handlers_open(dir, &handlers, fault);
    if (r != RESULT_OK)
        return r;
    changes_t *changes = MEM_NEW(changes_t);
    *changes = (changes_t){.handlers = handlers,
                           .node = mem_strdup(node),
                           .history = history,
                           .log = log,
                           .seq = history_tail(history)->handlers_seq,
                           .more = true};
    *ret_changes = changes;
    return RESULT_OK;
}

void changes_destroy(changes_t **changes_ref)
{
    changes_t *changes = *changes_ref;
    if (!changes)
        return;
    handlers_close(&changes->handlers);
    free(changes->node);
    free(changes);
    *changes_ref = NULL;
}

static void add_record(changes_t *changes, const handler_change_t *change)
{
    char topic[ENTRY_TOPIC_MAX + 1];
    snprintf(topic, sizeof topic, "handler.%s", change->what);
    record_t record = {
        .topic = slice_of(topic),
        .at_ms = change->at_ms,
        .handler_id = change->handler_id,
        .handler = slice_of(change->name),
        .reason = *change->reason ? slice_of(change->reason) : (slice_t){0},
    };
    commit_t *next = history_next(changes->history);
    changes->seq = next->handlers_seq = change->seq;
    if (entry_is_valid(&record))
        commit_add_own(next, slice_of(changes->node), SLICE("auditor"), &record);
}

static result_t read_changes(changes_t *changes)
{
    handler_change_t change;
    result_t r = RESULT_OK;
    for (int i = 0; i < BURST && history_room(changes->history); i++) {
        r = handlers_next_change(changes->handlers, changes->seq, &change);
        if (r != RESULT_OK)
            break;
        add_record(changes, &change);
    }
    changes->more = r == RESULT_OK;
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

void changes_poll(changes_t *changes)
{
    bool changed = false;
    result_t r = handlers_poll(changes->handlers, &changed);
    changes->more |= changed;
    if (r == RESULT_OK && changes->more)
        r = read_changes(changes);
    history_kick(changes->history);
    if (r == RESULT_AGAIN)
        r = RESULT_OK;
    bool failed = r != RESULT_OK;
    changes->more |= failed;
    if (failed && !changes->failed)
        log_line(changes->log, LEVEL_WARN,
                 "event=handler_table_unreadable reason=%s next=\"tried again\"", result_str(r));
    changes->failed = failed;
}
