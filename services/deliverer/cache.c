#include "services/deliverer/cache.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

struct cache_t {
    int64_t max_bytes;
    int64_t bytes;
    cache_entry_t *first; /* of all entries */
};

/* One allocation: the struct and behind it what its slices point to. */
struct cache_content {
    event_t event;
    int64_t bytes;
    char data[];
};

static void drop_content(cache_t *cache, cache_entry_t *entry)
{
    if (!entry->content)
        return;
    cache->bytes -= entry->content->bytes;
    free(TAKE(entry->content));
}

static void end_entry(cache_t *cache, cache_entry_t *entry)
{
    if (entry->before)
        entry->before->after = entry->after;
    else
        cache->first = entry->after;
    if (entry->after)
        entry->after->before = entry->before;
    drop_content(cache, entry);
    free(entry);
}

cache_t *cache_new(int64_t max_bytes)
{
    cache_t *cache = MEM_NEW(cache_t);
    cache->max_bytes = max_bytes;
    return cache;
}

void cache_destroy(cache_t **cache)
{
    if (!*cache)
        return;
    for (cache_entry_t *entry = (*cache)->first, *after; entry; entry = after) {
        after = entry->after;
        free(entry->content);
        free(entry);
    }
    free(TAKE(*cache));
}

void cache_set_max(cache_t *cache, int64_t max_bytes)
{
    cache->max_bytes = max_bytes;
}

int64_t cache_bytes(const cache_t *cache)
{
    return cache->bytes;
}

int64_t cache_entry_bytes(const cache_entry_t *entry)
{
    return entry->content ? entry->content->bytes : (int64_t)sizeof *entry;
}

bool cache_full(const cache_t *cache)
{
    return cache->bytes >= cache->max_bytes;
}

static void copy_slice(slice_t *slice, char **at)
{
    if (!slice->data)
        return;
    memcpy(*at, slice->data, slice->size);
    slice->data = *at;
    *at += slice->size;
}

static struct cache_content *content_new(const event_t *event)
{
    size_t size = event->id.size + event->events_id.size + event->object_kind.size +
                  event->object_id.size + event->body.size + event->webhook_id.size;
    struct cache_content *content = mem_alloc(sizeof *content + size);
    char *at = content->data;
    content->bytes = (int64_t)(sizeof(cache_entry_t) + sizeof *content + size);
    content->event = *event;
    copy_slice(&content->event.id, &at);
    copy_slice(&content->event.events_id, &at);
    copy_slice(&content->event.object_kind, &at);
    copy_slice(&content->event.object_id, &at);
    copy_slice(&content->event.webhook_id, &at);
    copy_slice(&content->event.body, &at);
    return content;
}

static void drop_if_over(cache_t *cache, cache_entry_t *entry)
{
    if (cache->bytes > cache->max_bytes && entry->stored && entry->users == 0)
        drop_content(cache, entry);
}

cache_entry_t *cache_put(cache_t *cache, int64_t seq, const event_t *event, bool stored)
{
    cache_entry_t *entry = MEM_NEW(cache_entry_t);
    *entry = (cache_entry_t){.seq = seq, .place = -1, .refs = 1, .stored = stored};
    entry->after = cache->first;
    if (cache->first)
        cache->first->before = entry;
    cache->first = entry;
    if (event)
        cache_fill(cache, entry, event);
    return entry;
}

void cache_ref(cache_entry_t *entry)
{
    entry->refs++;
}

void cache_unref(cache_t *cache, cache_entry_t *entry)
{
    ENSURE(entry->refs > 0);
    if (--entry->refs)
        return;
    ENSURE(entry->users == 0);
    end_entry(cache, entry);
}

const event_t *cache_use(cache_entry_t *entry)
{
    if (!entry->content)
        return NULL;
    entry->users++;
    return &entry->content->event;
}

void cache_unuse(cache_t *cache, cache_entry_t *entry)
{
    ENSURE(entry->users > 0);
    entry->users--;
    drop_if_over(cache, entry);
}

void cache_fill(cache_t *cache, cache_entry_t *entry, const event_t *event)
{
    ENSURE(!entry->content);
    entry->content = content_new(event);
    cache->bytes += entry->content->bytes;
}

void cache_stored(cache_t *cache, cache_entry_t *entry)
{
    entry->stored = true;
    drop_if_over(cache, entry);
}
