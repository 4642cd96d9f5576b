/* watch: file descriptors and one timer behind a single zloop poller.
 *
 * zloop rebuilds its whole poll set whenever a descriptor comes or goes, and a request's socket
 * changes its interest two or three times. So such descriptors live in an epoll instance of their
 * own, together with a timerfd. Changes that can wait are left to the moment at which they would
 * matter: a descriptor that is not wanted any more stays registered until it becomes ready.
 *
 * Per turn: on_ready for every descriptor that is ready, then on_turn once. When the timer is due,
 * descriptors are looked at again until none is ready before on_due is called: after a stall, what
 * has arrived meanwhile is read before deadlines fire (P5). */
#ifndef PROVISOR_WATCH_H
#define PROVISOR_WATCH_H

#include <czmq.h>
#include <stdint.h>

typedef struct watch_t watch_t;

enum { WATCH_IN = 1, WATCH_OUT = 2, WATCH_ERROR = 4 };

typedef struct {
    /* events: those of WATCH_IN and WATCH_OUT that are wanted and ready, or all that are wanted
     * and WATCH_ERROR. */
    void (*on_ready)(void *owner, int fd, void *tag, unsigned events);
    void (*on_turn)(void *owner);
    /* The moment of watch_at has come; it is forgotten before the call. */
    void (*on_due)(void *owner);
} watch_calls_t;

watch_t *watch_new(zloop_t *loop, const watch_calls_t *calls, void *owner);
/* The descriptors are their owners' to close. Not from within a call. */
void watch_destroy(watch_t **watch);
/* Wants WATCH_IN, WATCH_OUT, both; 0: nothing for the time being (the descriptor is open). */
void watch_set(watch_t *watch, int fd, void *tag, unsigned events);
/* The tag of the last watch_set; NULL: the descriptor is not known. */
void *watch_tag(const watch_t *watch, int fd);
/* Before the descriptor is closed. */
void watch_forget(watch_t *watch, int fd);
/* on_due at this moment (clk_mono_us) or earlier: an earlier one that was asked for stays. A moment
 * that has passed: in the next turn. */
void watch_at(watch_t *watch, int64_t due_us);

#endif
