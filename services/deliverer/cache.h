/* cache: events that memory holds, each once however many deliveries share it.
 *
 * An entry lives while somebody refers to it (a delivery in lanes, a request in flight, a commit
 * that waits). Its content (ids and body) is given up when it is on disk, nobody uses it just now
 * and the cache is over its bound; whoever needs it then fills it again from the store.
 *
 *     cache_put (cache, seq, &event)          1 reference
 *     cache_use (entry) ... cache_unuse       content stays while in use
 *     cache_ref / cache_unref                 the last one ends the entry
 */
#ifndef PROVISOR_CACHE_H
#define PROVISOR_CACHE_H

#include "common/wire/messages.h"

typedef struct cache_t cache_t;

typedef struct cache_entry {
    int64_t seq;   /* of the event in the store */
    int64_t place; /* the owner's: where it stands in the batch that is collected; -1: not in it */
    /* cache's own */
    struct cache_content *content;      /* NULL: only in the store */
    struct cache_entry *before, *after; /* all entries */
    int refs;
    int users;
    bool stored;
} cache_entry_t;

cache_t *cache_new(int64_t max_bytes);
/* Ends every entry, whoever refers to it. */
void cache_destroy(cache_t **cache);
void cache_set_max(cache_t *cache, int64_t max_bytes);
/* Bytes of contents held, with their entries. */
int64_t cache_bytes(const cache_t *cache);
/* What the entry takes with its content. */
int64_t cache_entry_bytes(const cache_entry_t *entry);
/* At its bound: an entry without content is worth nothing to who can name its seq. */
bool cache_full(const cache_t *cache);

/* A new entry with one reference; event NULL: its content is only in the store. The event is
 * copied. stored: it is committed. */
cache_entry_t *cache_put(cache_t *cache, int64_t seq, const event_t *event, bool stored);
void cache_ref(cache_entry_t *entry);
void cache_unref(cache_t *cache, cache_entry_t *entry);
/* The content, which stays until cache_unuse; NULL: cache_fill it first. */
const event_t *cache_use(cache_entry_t *entry);
void cache_unuse(cache_t *cache, cache_entry_t *entry);
/* Requires that it has none. */
void cache_fill(cache_t *cache, cache_entry_t *entry, const event_t *event);
/* It is committed from now on. */
void cache_stored(cache_t *cache, cache_entry_t *entry);

#endif
