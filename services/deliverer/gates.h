/* gates: the deliveries of one event wait for each other by priority, never for long. Pure; times
 * are monotonic ms.
 *
 * A group holds one event. In it, a counted member may start now and the others wait for it; a
 * waiting member waits. When no counted member is left, the waiting ones of the smallest priority
 * are opened: on_open says for each whether it may start now, and so is counted in its turn. When
 * the group's time is up all are opened. Members of a group are added in the order of priority.
 *
 *     group = gates_begin (gates, until_ms);
 *     gates_count (gates, group);                      the owner remembers the gate returned
 *     gates_wait (gates, group, priority, lane);
 *     gates_leave (gates, gate);                       had its first attempt, or is gone */
#ifndef PROVISOR_GATES_H
#define PROVISOR_GATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct gates_t gates_t;

/* The waiting member was opened. True: it is counted, gates_leave follows. False: the gate is
 * forgotten. Must not call gates. */
typedef bool(gates_open_fn)(void *owner, uint32_t lane, uint32_t gate);

gates_t *gates_new(gates_open_fn *on_open, void *owner);
void gates_destroy(gates_t **gates);
/* Follow with gates_count, then gates_wait: an empty group is never freed. */
uint32_t gates_begin(gates_t *gates, int64_t until_ms);
uint32_t gates_count(gates_t *gates, uint32_t group);
uint32_t gates_wait(gates_t *gates, uint32_t group, int64_t priority, uint32_t lane);
/* Works for counted and for waiting members. */
void gates_leave(gates_t *gates, uint32_t gate);
void gates_expire(gates_t *gates, int64_t now_ms);
/* When gates_expire does something; INT64_MAX: never. */
int64_t gates_due_ms(const gates_t *gates);
/* How many groups there are. */
size_t gates_groups(const gates_t *gates);

#endif
