/* audit_window: the pure core of audit, go-back-N over records that are already encoded.
 *
 * Numbers rise by one from 1. mark <= sent <= last: up to mark everything is committed at the
 * auditor and forgotten here, up to sent it is on its way, the rest waits. When mark stands still
 * for repeat_ms while something is on its way, sending begins again behind mark, with one message
 * only: a receiver that is merely slow is not flooded with what it has. When mark has risen the
 * rest follows. A receiver that has just joined gets everything at once. */
#ifndef PROVISOR_AUDIT_WINDOW_H
#define PROVISOR_AUDIT_WINDOW_H

#include "common/base/buf.h"

typedef struct {
    size_t records_max; /* kept; at 0 room there is none for one more */
    size_t bytes_max;
    size_t message_bytes; /* of one message's records; one record fits always */
    size_t messages_max;  /* on their way; then what is added waits and leaves together */
    int64_t repeat_ms;
    int64_t silence_ms; /* without a beat for so long, nothing is sent */
} audit_limits_t;

typedef struct audit_window_t audit_window_t;

audit_window_t *audit_window_new(const audit_limits_t *limits);
void audit_window_destroy(audit_window_t **window);

/* Less than records_max and less than bytes_max are kept. */
bool audit_window_room(const audit_window_t *window);
/* Copies the record; returns its number. Takes it also without room: the caller decides. */
int64_t audit_window_add(audit_window_t *window, slice_t record);

/* A receiver's subscription has come or gone. */
void audit_window_join(audit_window_t *window);
void audit_window_leave(audit_window_t *window);
/* The auditor lives. After a silence everything unmarked is sent again. */
void audit_window_beat(audit_window_t *window, int64_t now_ms);
/* Everything up to number is committed. True when that is news; a number that was never given out
 * is not. */
bool audit_window_mark(audit_window_t *window, int64_t number, int64_t now_ms);
/* There is a receiver, and it has been heard within silence_ms. */
bool audit_window_alive(const audit_window_t *window, int64_t now_ms);

typedef struct {
    int64_t first;  /* number of its first record */
    int64_t oldest; /* the smallest number that is still kept */
    int64_t count;
    buf_t records; /* the caller's */
} audit_message_t;

/* The next message to send now, counted as sent; false when there is none. */
bool audit_window_take(audit_window_t *window, int64_t now_ms, audit_message_t *ret_message);
/* Goes back when it is time to. Returns in how many ms to call it again; -1: not before something
 * was taken. */
int64_t audit_window_tick(audit_window_t *window, int64_t now_ms);

int64_t audit_window_marked(const audit_window_t *window);
int64_t audit_window_last(const audit_window_t *window);
size_t audit_window_bytes(const audit_window_t *window);
/* Records sent more than once, ever. */
int64_t audit_window_repeated(const audit_window_t *window);

#endif
