#include "services/deliverer/roster.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

struct roster_t {
    handlers_t *table;
    settings_defaults_t defaults;
    char *default_retry; /* defaults.retry */
    const log_t *log;
    const roster_calls_t *calls;
    void *owner;
    roster_handler_t **handlers; /* by id */
    size_t n_handlers;
    bool readable;
    bool read_once;
};

static void take_defaults(roster_t *roster, const settings_defaults_t *defaults)
{
    free(roster->default_retry);
    roster->default_retry = mem_strdup(defaults->retry);
    roster->defaults = *defaults;
    roster->defaults.retry = roster->default_retry;
}

result_t roster_open(const char *dir, const settings_defaults_t *defaults, const log_t *log,
                     const roster_calls_t *calls, void *owner, roster_t **ret_roster,
                     fault_t *fault)
{
    roster_t *roster = MEM_NEW(roster_t);
    *roster = (roster_t){.log = log, .calls = calls, .owner = owner, .readable = true};
    take_defaults(roster, defaults);
    result_t r = handlers_open(dir, &roster->table, fault);
    if (r != RESULT_OK) {
        roster_close(&roster);
        return r;
    }
    handlers_never_wait(roster->table);
    *ret_roster = roster;
    return RESULT_OK;
}

void roster_close(roster_t **roster)
{
    if (!*roster)
        return;
    for (size_t i = 0; i < (*roster)->n_handlers; i++) {
        settings_destroy(&(*roster)->handlers[i]->settings);
        free((*roster)->handlers[i]->suspend_reason);
        free((*roster)->handlers[i]);
    }
    handlers_close(&(*roster)->table);
    free((*roster)->handlers);
    free((*roster)->default_retry);
    free(TAKE(*roster));
}

bool roster_gone(const roster_handler_t *handler)
{
    return !handler || handler->status == HANDLER_ARCHIVED || handler->status == HANDLER_DELETED;
}

const char *roster_gone_reason(const roster_handler_t *handler)
{
    return handler && handler->status == HANDLER_ARCHIVED ? "archived" : "deleted";
}

bool roster_paused(const roster_handler_t *handler)
{
    return handler->status != HANDLER_ENABLED || handler->suspend_reason;
}

roster_handler_t *roster_find(const roster_t *roster, int64_t id)
{
    size_t low = 0;
    size_t high = roster->n_handlers;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (roster->handlers[middle]->id == id)
            return roster->handlers[middle];
        if (roster->handlers[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

roster_handler_t *roster_at(const roster_t *roster, size_t i)
{
    return i < roster->n_handlers ? roster->handlers[i] : NULL;
}

/* Ids are given in rising order and rows never go, so a new one belongs at the end. */
static roster_handler_t *add_handler(roster_t *roster, int64_t id)
{
    ENSURE(!roster->n_handlers || roster->handlers[roster->n_handlers - 1]->id < id);
    roster_handler_t *handler = MEM_NEW(roster_handler_t);
    *handler = (roster_handler_t){.id = id, .status = HANDLER_DISABLED};
    roster->handlers =
        mem_realloc(roster->handlers, (roster->n_handlers + 1) * sizeof *roster->handlers);
    roster->handlers[roster->n_handlers++] = handler;
    return handler;
}

static void take_row(roster_t *roster, roster_handler_t *handler, const handler_t *row)
{
    bool was_gone = handler->settings && roster_gone(handler);
    bool was_parked = handler->settings && roster_paused(handler);
    settings_destroy(&handler->settings);
    handler->settings = settings_new(row, &roster->defaults);
    handler->status = row->status;
    if (handler->status != HANDLER_ENABLED)
        free(TAKE(handler->suspend_reason));
    if (handler->settings->fault.text[0])
        log_line(roster->log, LEVEL_ERROR, "event=handler_unusable handler_id=%lld error=\"%s\"",
                 (long long)handler->id, handler->settings->fault.text);
    if (!roster_gone(handler))
        roster->calls->on_changed(roster->owner, handler, was_parked && !roster_paused(handler));
    else if (!was_gone)
        roster->calls->on_gone(roster->owner, handler);
}

/* Handlers whose row changed; all of them when the defaults did. */
static void take_rows(roster_t *roster, bool all)
{
    for (size_t i = 0; i < handlers_count(roster->table); i++) {
        const handler_t *row = handlers_at(roster->table, i);
        roster_handler_t *handler = roster_find(roster, row->id);
        if (!handler)
            handler = add_handler(roster, row->id);
        if (all || !handler->settings || handler->settings->version != row->version)
            take_row(roster, handler, row);
    }
}

static void log_readable(roster_t *roster, result_t r)
{
    bool readable = r == RESULT_OK;
    if (readable != roster->readable)
        log_line(roster->log, readable ? LEVEL_INFO : LEVEL_WARN,
                 readable ? "event=handler_table_readable"
                          : "event=handler_table_unreadable next=\"the table read last stays\"");
    roster->readable = readable;
}

/* first: not tried before, so a failure is news. */
static void write_suspension(roster_t *roster, roster_handler_t *handler, bool first)
{
    fault_t fault = {""};
    AUTO_FREE char *reason = mem_strdup(handler->suspend_reason);
    result_t r = handlers_set_status(roster->table, handler->id, HANDLER_SUSPENDED, reason, &fault);
    if (r == RESULT_OK) {
        log_line(roster->log, LEVEL_WARN,
                 "event=handler_suspended handler_id=%lld reason=\"%s\" next=\"deliveries wait; "
                 "enable it to go on\"",
                 (long long)handler->id, reason);
        free(TAKE(handler->suspend_reason));
    } else if (r == RESULT_NOT_FOUND || r == RESULT_INVALID) {
        free(TAKE(handler->suspend_reason)); /* gone meanwhile: the table will say so */
    } else if (first) {
        log_line(roster->log, LEVEL_WARN,
                 "event=suspend_not_stored handler_id=%lld error=\"%s\" next=\"it parks here; "
                 "tried again\"",
                 (long long)handler->id, fault.text);
    }
}

bool roster_poll(roster_t *roster)
{
    bool changed = false;
    result_t r = handlers_poll(roster->table, &changed);
    if (r == RESULT_AGAIN && roster->read_once)
        return false; /* somebody writes just now */
    if (r != RESULT_AGAIN)
        log_readable(roster, r);
    if (r != RESULT_OK && roster->read_once)
        return false;
    if (changed || !roster->read_once)
        take_rows(roster, false);
    roster->read_once = true;
    bool wrote = false;
    for (size_t i = 0; i < roster->n_handlers; i++)
        if (roster->handlers[i]->suspend_reason) {
            write_suspension(roster, roster->handlers[i], false);
            wrote = true;
        }
    if (wrote)
        take_rows(roster, false);
    return true;
}

bool roster_readable(const roster_t *roster)
{
    return roster->readable;
}

int64_t roster_version(const roster_t *roster)
{
    return handlers_version(roster->table);
}

void roster_reload(roster_t *roster, const settings_defaults_t *defaults)
{
    take_defaults(roster, defaults);
    take_rows(roster, true);
}

void roster_suspend(roster_t *roster, roster_handler_t *handler, const char *reason)
{
    if (handler->status != HANDLER_ENABLED || handler->suspend_reason)
        return;
    handler->suspend_reason = mem_strdup(reason);
    write_suspension(roster, handler, true);
    take_rows(roster, false);
    if (!roster_gone(handler)) /* it parks, also when the table could not be written */
        roster->calls->on_changed(roster->owner, handler, false);
}
