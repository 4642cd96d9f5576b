#include "services/deliverer/gates.h"
#include "common/base/heap.h"
#include "common/base/mem.h"
#include "common/base/result.h"
#include "services/deliverer/slab.h"

#include <stdlib.h>

typedef struct {
    int64_t priority;
    uint32_t group;
    uint32_t lane;
    uint32_t prev, next; /* among the group's waiting members */
    bool counted;
} gate_t;

typedef struct {
    heap_node_t timer;    /* while somebody waits */
    uint32_t first, last; /* waiting members, smallest priority first */
    uint32_t counted;
} group_t;

struct gates_t {
    slab_t members;
    slab_t groups;
    heap_t *timers;
    gates_open_fn *on_open;
    void *owner;
};

gates_t *gates_new(gates_open_fn *on_open, void *owner)
{
    gates_t *gates = MEM_NEW(gates_t);
    slab_init(&gates->members, sizeof(gate_t));
    slab_init(&gates->groups, sizeof(group_t));
    gates->timers = heap_new();
    gates->on_open = on_open;
    gates->owner = owner;
    return gates;
}

void gates_destroy(gates_t **gates)
{
    if (!*gates)
        return;
    slab_release(&(*gates)->members);
    slab_release(&(*gates)->groups);
    heap_destroy(&(*gates)->timers);
    free(*gates);
    *gates = NULL;
}

static gate_t *member_at(const gates_t *gates, uint32_t gate)
{
    return slab_at(&gates->members, gate);
}

static group_t *group_at(const gates_t *gates, uint32_t group)
{
    return slab_at(&gates->groups, group);
}

uint32_t gates_begin(gates_t *gates, int64_t until_ms)
{
    uint32_t group = slab_take(&gates->groups);
    group_at(gates, group)->timer.key = until_ms;
    return group;
}

uint32_t gates_count(gates_t *gates, uint32_t group)
{
    uint32_t gate = slab_take(&gates->members);
    *member_at(gates, gate) = (gate_t){.group = group, .counted = true};
    group_at(gates, group)->counted++;
    return gate;
}

uint32_t gates_wait(gates_t *gates, uint32_t group_index, int64_t priority, uint32_t lane)
{
    group_t *group = group_at(gates, group_index);
    uint32_t gate = slab_take(&gates->members);
    *member_at(gates, gate) =
        (gate_t){.priority = priority, .group = group_index, .lane = lane, .prev = group->last};
    if (group->last) {
        ENSURE(member_at(gates, group->last)->priority <= priority);
        member_at(gates, group->last)->next = gate;
    } else {
        group->first = gate;
        heap_push(gates->timers, &group->timer, group->timer.key);
    }
    group->last = gate;
    return gate;
}

static void unlink_waiting(gates_t *gates, group_t *group, const gate_t *member)
{
    if (member->prev)
        member_at(gates, member->prev)->next = member->next;
    else
        group->first = member->next;
    if (member->next)
        member_at(gates, member->next)->prev = member->prev;
    else
        group->last = member->prev;
    if (!group->first)
        heap_remove(gates->timers, &group->timer);
}

static void open_first(gates_t *gates, group_t *group)
{
    uint32_t gate = group->first;
    gate_t *member = member_at(gates, gate);
    unlink_waiting(gates, group, member);
    member->counted = gates->on_open(gates->owner, member->lane, gate);
    if (member->counted)
        group->counted++;
    else
        slab_give(&gates->members, gate);
}

/* While nobody is counted the next priority goes; a group that holds nobody is freed. */
static void go_on(gates_t *gates, uint32_t index)
{
    group_t *group = group_at(gates, index);
    while (group->counted == 0 && group->first) {
        int64_t priority = member_at(gates, group->first)->priority;
        while (group->first && member_at(gates, group->first)->priority == priority)
            open_first(gates, group);
    }
    if (group->counted == 0)
        slab_give(&gates->groups, index);
}

void gates_leave(gates_t *gates, uint32_t gate)
{
    gate_t *member = member_at(gates, gate);
    uint32_t index = member->group;
    group_t *group = group_at(gates, index);
    if (member->counted)
        group->counted--;
    else
        unlink_waiting(gates, group, member);
    slab_give(&gates->members, gate);
    go_on(gates, index);
}

void gates_expire(gates_t *gates, int64_t now_ms)
{
    heap_node_t *node;
    while ((node = heap_first(gates->timers)) && node->key <= now_ms) {
        group_t *group = HEAP_ENTRY(node, group_t, timer);
        uint32_t index = member_at(gates, group->first)->group;
        while (group->first)
            open_first(gates, group);
        go_on(gates, index);
    }
}

int64_t gates_due_ms(const gates_t *gates)
{
    const heap_node_t *node = heap_first(gates->timers);
    return node ? node->key : INT64_MAX;
}

size_t gates_groups(const gates_t *gates)
{
    return gates->groups.live;
}
