#include "services/emitter/objects.h"
#include "common/base/mem.h"

#include <stdlib.h>

enum { BUCKETS_MIN = 64 };

void object_list_push(object_list_t *list, object_t *object)
{
    object->list = list;
    object->before = list->last;
    object->after = NULL;
    if (list->last)
        list->last->after = object;
    else
        list->first = object;
    list->last = object;
}

void object_list_remove(object_t *object)
{
    object_list_t *list = object->list;
    if (!list)
        return;
    if (object->before)
        object->before->after = object->after;
    else
        list->first = object->after;
    if (object->after)
        object->after->before = object->before;
    else
        list->last = object->before;
    object->list = NULL;
}

static void free_object(object_t *object)
{
    for (waiting_t *waiting = object->first, *next; waiting; waiting = next) {
        next = waiting->next;
        free(waiting);
    }
    free(object);
}

void objects_release(objects_t *objects)
{
    for (size_t i = 0; i < objects->n_buckets; i++)
        while (objects->buckets[i]) {
            object_t *object = objects->buckets[i];
            objects->buckets[i] = object->chain;
            free_object(object);
        }
    free(objects->buckets);
    *objects = (objects_t){0};
}

/* The low bits choose the partition; here the others spread the objects of one. */
static object_t **bucket_of(const objects_t *objects, uint64_t hash)
{
    return &objects->buckets[(hash / PARTITIONS) & (objects->n_buckets - 1)];
}

static void grow(objects_t *objects)
{
    objects_t bigger = {.n = objects->n};
    bigger.n_buckets = objects->n_buckets ? objects->n_buckets * 2 : BUCKETS_MIN;
    bigger.buckets = mem_alloc(bigger.n_buckets * sizeof *bigger.buckets);
    for (size_t i = 0; i < objects->n_buckets; i++)
        while (objects->buckets[i]) {
            object_t *object = objects->buckets[i];
            objects->buckets[i] = object->chain;
            object_t **bucket = bucket_of(&bigger, object->hash);
            object->chain = *bucket;
            *bucket = object;
        }
    free(objects->buckets);
    *objects = bigger;
}

object_t *objects_get(objects_t *objects, uint64_t hash)
{
    if (objects->n == objects->n_buckets)
        grow(objects);
    object_t **bucket = bucket_of(objects, hash);
    for (object_t *object = *bucket; object; object = object->chain)
        if (object->hash == hash)
            return object;
    object_t *object = MEM_NEW(object_t);
    object->hash = hash;
    object->chain = *bucket;
    *bucket = object;
    objects->n++;
    return object;
}

void objects_remove(objects_t *objects, object_t *object)
{
    ENSURE(!object->first && !object->list);
    object_t **at = bucket_of(objects, object->hash);
    while (*at != object)
        at = &(*at)->chain;
    *at = object->chain;
    objects->n--;
    free(object);
    if (objects->n == 0)
        objects_release(objects);
}

waiting_t *object_add(object_t *object, const outgoing_event_t *event)
{
    waiting_t *waiting = mem_realloc(NULL, sizeof *waiting + event->frame.size);
    char *frame = (char *)(waiting + 1);
    memcpy(frame, event->frame.data, event->frame.size);
    *waiting = (waiting_t){.previous = object->last, .object = object, .event = *event};
    waiting->event.frame.data = frame;
    if (object->last)
        object->last->next = waiting;
    else
        object->first = waiting;
    object->last = waiting;
    return waiting;
}

void object_take(waiting_t *waiting)
{
    object_t *object = waiting->object;
    if (waiting->previous)
        waiting->previous->next = waiting->next;
    else
        object->first = waiting->next;
    if (waiting->next)
        waiting->next->previous = waiting->previous;
    else
        object->last = waiting->previous;
    object->n_sent -= waiting->sent;
}
