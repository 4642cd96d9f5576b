#include "common/service/audit_window.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

typedef struct {
    char *data;
    size_t size;
} entry_t;

struct audit_window_t {
    audit_limits_t limits;
    entry_t *ring;   /* of mark + 1 .. last; number n stands at n & (capacity - 1) */
    size_t capacity; /* a power of two, at least last - mark */
    size_t bytes;    /* of the entries */
    int64_t mark, sent, last;
    int64_t *ends; /* last numbers of the messages on their way: a ring of messages_max */
    size_t ends_at, n_ends;
    int64_t progress_ms; /* when mark last rose, or the first record left after a pause */
    int64_t heard_ms;    /* last beat */
    int64_t repeated;
    int receivers;
    bool heard;   /* ever */
    bool probing; /* went back for lack of progress: one message until mark rises */
};

audit_window_t *audit_window_new(const audit_limits_t *limits)
{
    audit_window_t *window = MEM_NEW(audit_window_t);
    window->limits = *limits;
    window->capacity = 64;
    window->ring = mem_alloc(window->capacity * sizeof *window->ring);
    window->ends = mem_alloc(limits->messages_max * sizeof *window->ends);
    return window;
}

static entry_t *entry(const audit_window_t *window, int64_t number)
{
    return &window->ring[(size_t)number & (window->capacity - 1)];
}

void audit_window_destroy(audit_window_t **window_p)
{
    audit_window_t *window = *window_p;
    if (!window)
        return;
    for (int64_t n = window->mark + 1; n <= window->last; n++)
        free(entry(window, n)->data);
    free(window->ring);
    free(window->ends);
    free(window);
    *window_p = NULL;
}

bool audit_window_room(const audit_window_t *window)
{
    return (size_t)(window->last - window->mark) < window->limits.records_max &&
           window->bytes < window->limits.bytes_max;
}

static void grow(audit_window_t *window)
{
    audit_window_t old = *window;
    window->capacity *= 2;
    window->ring = mem_alloc(window->capacity * sizeof *window->ring);
    for (int64_t n = window->mark + 1; n <= window->last; n++)
        *entry(window, n) = *entry(&old, n);
    free(old.ring);
}

int64_t audit_window_add(audit_window_t *window, slice_t record)
{
    if ((size_t)(window->last - window->mark) == window->capacity)
        grow(window);
    window->last++;
    *entry(window, window->last) = (entry_t){mem_strndup(record.data, record.size), record.size};
    window->bytes += record.size;
    return window->last;
}

static void go_back(audit_window_t *window, bool probing)
{
    window->repeated += window->sent - window->mark;
    window->sent = window->mark;
    window->n_ends = 0;
    window->probing = probing;
}

void audit_window_join(audit_window_t *window)
{
    window->receivers++;
    go_back(window, false);
}

void audit_window_leave(audit_window_t *window)
{
    if (window->receivers > 0)
        window->receivers--;
}

static bool is_silent(const audit_window_t *window, int64_t now_ms)
{
    return !window->heard || now_ms - window->heard_ms > window->limits.silence_ms;
}

void audit_window_beat(audit_window_t *window, int64_t now_ms)
{
    if (is_silent(window, now_ms))
        go_back(window, false);
    window->heard = true;
    window->heard_ms = now_ms;
}

static void forget_ends(audit_window_t *window)
{
    while (window->n_ends > 0 && window->ends[window->ends_at] <= window->mark) {
        window->ends_at = (window->ends_at + 1) % window->limits.messages_max;
        window->n_ends--;
    }
}

static void remember_end(audit_window_t *window)
{
    size_t at = (window->ends_at + window->n_ends) % window->limits.messages_max;
    window->ends[at] = window->sent;
    window->n_ends++;
}

bool audit_window_mark(audit_window_t *window, int64_t number, int64_t now_ms)
{
    audit_window_beat(window, now_ms);
    if (number <= window->mark || number > window->last)
        return false;
    for (int64_t n = window->mark + 1; n <= number; n++) {
        window->bytes -= entry(window, n)->size;
        free(entry(window, n)->data);
    }
    window->mark = number;
    forget_ends(window);
    if (window->sent < number)
        window->sent = number;
    window->progress_ms = now_ms;
    window->probing = false;
    return true;
}

bool audit_window_alive(const audit_window_t *window, int64_t now_ms)
{
    return window->receivers > 0 && !is_silent(window, now_ms);
}

bool audit_window_take(audit_window_t *window, int64_t now_ms, audit_message_t *ret_message)
{
    bool on_its_way = window->sent > window->mark;
    if (window->sent == window->last || (window->probing && on_its_way) ||
        window->n_ends == window->limits.messages_max || !audit_window_alive(window, now_ms))
        return false;
    if (!on_its_way)
        window->progress_ms = now_ms;
    audit_message_t message = {.first = window->sent + 1, .oldest = window->mark + 1};
    do {
        const entry_t *e = entry(window, ++window->sent);
        buf_add(&message.records, e->data, e->size);
        message.count++;
    } while (window->sent < window->last &&
             message.records.size + entry(window, window->sent + 1)->size <=
                 window->limits.message_bytes);
    remember_end(window);
    *ret_message = message;
    return true;
}

int64_t audit_window_tick(audit_window_t *window, int64_t now_ms)
{
    if (window->sent == window->mark || !audit_window_alive(window, now_ms))
        return -1;
    int64_t due_ms = window->progress_ms + window->limits.repeat_ms;
    if (now_ms < due_ms)
        return due_ms - now_ms;
    window->progress_ms = now_ms;
    go_back(window, true);
    return window->limits.repeat_ms;
}

int64_t audit_window_marked(const audit_window_t *window)
{
    return window->mark;
}

int64_t audit_window_last(const audit_window_t *window)
{
    return window->last;
}

size_t audit_window_bytes(const audit_window_t *window)
{
    return window->bytes;
}

int64_t audit_window_repeated(const audit_window_t *window)
{
    return window->repeated;
}
