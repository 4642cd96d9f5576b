/* lanes: which delivery may start next. Pure: knows no socket, no store, no clock.
 *
 * A delivery is (event, handler). Per handler and object there is a lane: its deliveries start in
 * the order of seq, and the next starts only after the one before has its final outcome (P4).
 * Per handler: a window of requests in flight, a rate limit, a circuit (breaker.h). One global
 * bound, shared in turn by the handlers that are ready; a handler never holds more slots than it
 * leaves free, and one whose last request timed out holds one slot (turns.h), so that a healthy
 * one finds a slot though many hang.
 *
 * Memory holds for each lane its head and at most LANES_KEEP deliveries in all; later ones are
 * counted and stay in the store. When a lane has used up what memory holds and the count says that
 * there is more, on_refill is called and the owner answers with lanes_refill (at once or later; the
 * lane waits). A lane with one waiting delivery costs at most 100 bytes in all. A handler that
 * cannot start anything now (paused, circuit, window, rate) is not visited, whatever waits for it.
 *
 *     lanes_restore (...)                                 at the start, before anything is added
 *     lanes_add (lanes, &event, targets, n, now)          an event came into custody
 *     while (lanes_take (lanes, now, &delivery)) send (&delivery);
 *     lanes_done (lanes, &delivery, &verdict, now)        its exchange ended; then take again
 *     timer at lanes_due_ms (lanes)                       then take again
 *
 * Files: lanes (adding, taking, outcomes), lanes_edit (rare calls), turns (whose turn it is), gates
 * (priorities), lane, lane_table, slab (memory), rate. */
#ifndef PROVISOR_LANES_H
#define PROVISOR_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/json.h"
#include "services/deliverer/breaker.h"

/* What is beyond it costs a query each time a lane has used up its share, and a read of each event.
 */
enum { LANES_KEEP = 8 };

/* Times are monotonic ms unless named wall. */
typedef struct {
    int64_t id;
    int window;      /* requests in flight */
    int64_t rate;    /* requests per second, 0: not limited (token bucket, burst = max (1, rate)) */
    int64_t hold_ms; /* a head that has been retried longer than this is set aside; -1: never */
    bool paused;     /* disabled, suspended: parks */
    breaker_settings_t breaker;
} lanes_handler_t;

typedef struct {
    int64_t seq; /* of the event in the store: order of custody, from 1 */
    int64_t handler_id;
    uint64_t object;       /* lane key; unordered deliveries have one of their own; not 0 */
    int64_t first_wall_ms; /* when the first attempt started; 0: none yet. The owner sets it when it
                              starts the first one; lanes_done remembers it */
    void *event;           /* the owner's; NULL: it is only in the store */
    int64_t due_ms;        /* lanes_refill: not before this, 0: now */
    int attempts;          /* made so far, without the one that lanes_take starts */
    uint32_t lane;         /* lanes' own */
    uint32_t flight;       /* lanes' own */
    bool probe;            /* taken as the probe of an open circuit */
} lanes_delivery_t;

typedef struct {
    int64_t handler_id;
    uint64_t object;
    int64_t priority;
} lanes_target_t;

typedef enum {
    LANES_FINAL, /* delivered, exhausted, cancelled: the lane goes on */
    LANES_RETRY, /* waits at the head until due_ms; one attempt more was made */
    LANES_BACK,  /* was not tried after all (drain, handler paused meanwhile): due at once, no
                    attempt used; health and timed_out are not looked at */
} lanes_next_t;

/* For the circuit. NEUTRAL: nothing was sent. With LANES_FINAL (too old, cancelled) it gives back
 * the token of the rate and the probe, so that what is given up does not use up what others need;
 * with LANES_RETRY (could not even be tried) the next probe is as far off as this one was. */
typedef enum { LANES_HEALTHY, LANES_UNHEALTHY, LANES_NEUTRAL } lanes_health_t;

typedef struct {
    lanes_next_t next;
    int64_t due_ms; /* LANES_RETRY */
    lanes_health_t health;
    bool
        timed_out; /* the deadline passed: the handler falls to one slot until a request does not */
} lanes_verdict_t;

/* From within a call nothing of lanes may be called, but lanes_refill from on_refill. */
typedef struct {
    /* The lane has more in the store, all with seq > after_seq: answer with lanes_refill. Called
     * from lanes_done, lanes_drop, lanes_refill, and, when a head is set aside, from lanes_take,
     * also when that gives nothing: answer, then take again. */
    void (*on_refill)(void *owner, int64_t handler_id, uint64_t object, int64_t after_seq);
    /* A delivery that memory held is not held any more (its event pointer, which is not NULL, is
     * given up). Once for each pointer that lanes took, except in lanes_destroy. */
    void (*on_release)(void *owner, void *event);
    /* The circuit of a handler opened or closed: BREAKER_OPEN or BREAKER_CLOSED. */
    void (*on_circuit)(void *owner, int64_t handler_id, breaker_state_t state);
} lanes_calls_t;

typedef struct lanes_t lanes_t;

lanes_t *lanes_new(int global_max, const lanes_calls_t *calls, void *owner);
/* Calls nothing: what the event pointers mean is the owner's to free. */
void lanes_destroy(lanes_t **lanes);
void lanes_set_global_max(lanes_t *lanes, int global_max);
/* How far the wall clock is ahead of the monotonic one. hold_ms counts from first_wall_ms and never
 * happens before this was called; call it at the start and again when the clock stepped. */
void lanes_set_wall_offset(lanes_t *lanes, int64_t wall_minus_mono_ms);
/* Adds a handler or changes its settings; what waits follows from the next take on. What is added
 * for a handler that was never set parks until it is. */
void lanes_set_handler(lanes_t *lanes, const lanes_handler_t *settings);

/* A new event with all its deliveries. Gates by priority: a delivery starts when every one of a
 * lower number of this event has had its first attempt (lanes_done, whatever came of it), or could
 * not start when it came or when its own gate opened (lane busy, window, rate, circuit not closed,
 * paused), and at the latest priority_wait_ms from now (0: no gates). What memory does not hold has
 * no gate. For each target, ret_kept (may be NULL) says whether memory holds it (and so the event
 * pointer, until on_release). */
void lanes_add(lanes_t *lanes, int64_t seq, void *event, const lanes_target_t *targets, size_t n,
               int64_t priority_wait_ms, int64_t now_ms, bool *ret_kept);
/* At the start, in order of seq: a lane that was never seen, with its head (due_ms as in a retry;
 * 0: now) and how many it has, the head included. One that was seen has count more behind it. */
void lanes_restore(lanes_t *lanes, const lanes_delivery_t *head, int64_t due_ms, int64_t count);
/* The one answer to each on_refill: n >= 1 deliveries of this lane in order of seq, continuing
 * after after_seq, without what was dropped meanwhile; more than LANES_KEEP are no use. on_release
 * is called for those that are not taken. n = 0: the store has no more, also none that are still on
 * their way into it; what was added since on_refill is asked for again. */
void lanes_refill(lanes_t *lanes, int64_t handler_id, uint64_t object,
                  const lanes_delivery_t *deliveries, size_t n, int64_t now_ms);

/* The next delivery that may start now; false when there is none. It counts as in flight until
 * lanes_done. */
bool lanes_take(lanes_t *lanes, int64_t now_ms, lanes_delivery_t *ret_delivery);
/* LANES_RETRY, LANES_BACK: first_wall_ms and event are kept as they stand in delivery now. An event
 * that the owner loaded and put there is held from now on; NULL instead of the one that was taken
 * gives it up (on_release): the seq is enough while a retry is far off. */
void lanes_done(lanes_t *lanes, const lanes_delivery_t *delivery, const lanes_verdict_t *verdict,
                int64_t now_ms);
/* When lanes_take may give something without anything else happening; -1: never. Not in the past
 * after lanes_take said no, unless it left work undone to keep its turn short. */
int64_t lanes_due_ms(const lanes_t *lanes, int64_t now_ms);

/* Takes a waiting delivery out, held in memory or only counted (the owner deleted its row). False:
 * it is in flight; the owner finishes it when its exchange ends. */
bool lanes_drop(lanes_t *lanes, int64_t handler_id, uint64_t object, int64_t seq, int64_t now_ms);
/* Forgets everything that waits for the handler; what is in flight stays until lanes_done. */
void lanes_drop_handler(lanes_t *lanes, int64_t handler_id);
/* Makes waiting heads due now: one object's lane (object != 0) or all lanes of the handler; also
 * asks an open circuit to probe at once. Returns how many. */
size_t lanes_hurry(lanes_t *lanes, int64_t handler_id, uint64_t object, int64_t now_ms);
/* The owner wants the event's memory back: a waiting delivery is held by its seq only (on_release).
 * False: it is in flight, or its event is not held. */
bool lanes_let_go(lanes_t *lanes, int64_t handler_id, uint64_t object, int64_t seq);

size_t lanes_in_flight(const lanes_t *lanes);
/* What is waiting or in flight for one handler. */
typedef struct {
    int64_t pending;
    int64_t lanes;
    int64_t blocked_lanes; /* whose head waits for a retry */
    int64_t in_flight;
    breaker_state_t circuit;
} lanes_stats_t;
void lanes_stats(const lanes_t *lanes, int64_t handler_id, lanes_stats_t *ret_stats);

typedef enum {
    LANES_PLACE_UNKNOWN,  /* not here, or so far behind that memory does not hold it */
    LANES_PLACE_READY,    /* first of its lane: starts when it is its turn */
    LANES_PLACE_RETRYING, /* waits for its next attempt */
    LANES_PLACE_BEHIND,   /* waits for an earlier one of its object */
    LANES_PLACE_IN_FLIGHT,
} lanes_place_t;
lanes_place_t lanes_place(const lanes_t *lanes, int64_t handler_id, uint64_t object, int64_t seq);

#endif
