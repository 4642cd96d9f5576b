/* objects: the objects that have events waiting, found by their hash. Shared with outgoing only.
 * Two objects with the same hash are one: they only wait for each other. */
#ifndef PROVISOR_OBJECTS_H
#define PROVISOR_OBJECTS_H

#include "services/emitter/outgoing.h"

/* An event in memory; in one allocation with its frame. */
typedef struct waiting_t {
    struct waiting_t *next; /* of the same object */
    struct waiting_t *previous;
    struct object_t *object;
    outgoing_event_t event;
    bool sent; /* at least once, and without a receipt */
} waiting_t;

typedef struct object_t {
    uint64_t hash;
    struct object_t *chain;  /* in its bucket */
    waiting_t *first, *last; /* in order; the sent ones are in front */
    size_t n_sent;
    int64_t sent_ms;            /* its last message */
    struct object_list_t *list; /* that it is in, NULL: none */
    struct object_t *before, *after;
} object_t;

/* First in, first out. Zero-initialise. */
typedef struct object_list_t {
    object_t *first, *last;
} object_list_t;

void object_list_push(object_list_t *list, object_t *object);
/* Takes it out of the list that it is in, if any. */
void object_list_remove(object_t *object);

/* Zero-initialise; ends with objects_release (), which frees objects and their events. */
typedef struct {
    object_t **buckets;
    size_t n_buckets; /* 0 or a power of two */
    size_t n;
} objects_t;

void objects_release(objects_t *objects);
/* The object of this hash, made when there is none. */
object_t *objects_get(objects_t *objects, uint64_t hash);
/* Requires that it has no events and is in no list. */
void objects_remove(objects_t *objects, object_t *object);

/* Copies the event to the end of its object. */
waiting_t *object_add(object_t *object, const outgoing_event_t *event);
/* Takes it out of its object; the caller frees it. */
void object_take(waiting_t *waiting);

#endif
