#include "services/router/matcher.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/service/filter_index.h"

#include <stdio.h>
#include <stdlib.h>

/* Handlers are numbered in the order of (priority, id): that order is the order of places. */
typedef struct {
    int64_t id;
    int64_t priority;
    filter_t *filter; /* NULL: none */
    bool unreadable;  /* it has a filter of which we know nothing */
} entry_t;

/* Everybody who asks for the same pattern. */
typedef struct {
    char *pattern; /* "clients.create", "clients.*", "*" */
    uint64_t hash;
    uint32_t *places; /* rising, each once */
    size_t n;
    filter_index_t *index; /* of their filters, in the order of places */
    bool unsure; /* somebody with an unreadable filter asks for it, and is not in places */
} list_t;

struct matcher_t {
    entry_t *entries;
    size_t n_entries, n_matching;
    uint32_t *by_id; /* places, in the order of ids */
    list_t *lists;
    size_t n_lists;
    uint32_t *slots; /* by hash of the pattern, open addressing; 1 + place in lists, 0: free */
    size_t n_slots;
    filter_body_t *body;
    uint32_t *found; /* places that the event at hand goes to; room for all of entries */
    size_t n_found;
    bool unsure;       /* a handler that is not in found may be meant too */
    target_t *targets; /* room for all of entries */
    fault_t fault;
};

/* --- building --- */

static int compare_by_priority(const void *a, const void *b)
{
    const handler_t *x = *(const handler_t *const *)a, *y = *(const handler_t *const *)b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int compare_by_id(const void *a, const void *b, void *arg)
{
    const entry_t *entries = arg;
    int64_t x = entries[*(const uint32_t *)a].id, y = entries[*(const uint32_t *)b].id;
    return (x > y) - (x < y);
}

static int compare_places(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static list_t *find_list(const matcher_t *matcher, uint64_t hash, slice_t pattern, char last)
{
    for (size_t i = hash & (matcher->n_slots - 1); matcher->slots[i];
         i = (i + 1) & (matcher->n_slots - 1)) {
        list_t *list = &matcher->lists[matcher->slots[i] - 1];
        size_t size = strlen(list->pattern);
        if (list->hash == hash && size == pattern.size + (last != 0) &&
            memcmp(list->pattern, pattern.data, pattern.size) == 0 &&
            (last == 0 || list->pattern[pattern.size] == last))
            return list;
    }
    return NULL;
}

static void add_slot(matcher_t *matcher, size_t place)
{
    size_t i = matcher->lists[place].hash & (matcher->n_slots - 1);
    while (matcher->slots[i])
        i = (i + 1) & (matcher->n_slots - 1);
    matcher->slots[i] = (uint32_t)place + 1;
}

static void index_lists(matcher_t *matcher)
{
    free(matcher->slots);
    matcher->n_slots = 64;
    while (matcher->n_slots < matcher->n_lists * 4)
        matcher->n_slots *= 2;
    matcher->slots = mem_alloc(matcher->n_slots * sizeof *matcher->slots);
    for (size_t i = 0; i < matcher->n_lists; i++)
        add_slot(matcher, i);
}

static list_t *add_list(matcher_t *matcher, uint64_t hash, slice_t pattern)
{
    size_t n = matcher->n_lists++;
    if ((n & (n + 1)) == 0) /* as many more as there are */
        matcher->lists = mem_realloc(matcher->lists, (2 * n + 1) * sizeof *matcher->lists);
    matcher->lists[n] = (list_t){.pattern = mem_strndup(pattern.data, pattern.size), .hash = hash};
    if (matcher->n_lists * 2 > matcher->n_slots)
        index_lists(matcher);
    else
        add_slot(matcher, n);
    return &matcher->lists[n];
}

static void add_pattern(matcher_t *matcher, slice_t pattern, uint32_t place)
{
    uint64_t hash = hash_bytes(pattern.data, pattern.size);
    list_t *list = find_list(matcher, hash, pattern, 0);
    if (!list)
        list = add_list(matcher, hash, pattern);
    if (matcher->entries[place].unreadable) {
        list->unsure = true;
        return;
    }
    if ((list->n & (list->n + 1)) == 0)
        list->places = mem_realloc(list->places, (2 * list->n + 1) * sizeof *list->places);
    list->places[list->n++] = place;
}

/* The next pattern of a text of them; false at the end. */
static bool next_pattern(const char **at, slice_t *ret_pattern)
{
    *at += strspn(*at, " \t\r\n");
    *ret_pattern = (slice_t){*at, strcspn(*at, " \t\r\n")};
    *at += ret_pattern->size;
    return ret_pattern->size > 0;
}

/* Does another pattern of the same handler cover this one? A pattern covers another one just as it
 * covers an id. Of two equal ones the first stays. */
static bool is_covered(const char *events, slice_t pattern)
{
    slice_t other;
    for (const char *at = events; next_pattern(&at, &other);)
        if (other.data != pattern.data && handler_pattern_covers(other, pattern) &&
            (!slice_equal(other, pattern) || other.data < pattern.data))
            return true;
    return false;
}

/* Only patterns that no other one covers: so a handler stands in at most one of the lists that an
 * event visits, and matches once. */
static void add_patterns(matcher_t *matcher, const handler_t *handler, uint32_t place)
{
    slice_t pattern;
    const char *events = handler->events ? handler->events : "";
    for (const char *at = events; next_pattern(&at, &pattern);)
        if (!is_covered(events, pattern))
            add_pattern(matcher, pattern, place);
}

static void add_handler(matcher_t *matcher, const handler_t *handler)
{
    uint32_t place = (uint32_t)matcher->n_entries++;
    entry_t *entry = &matcher->entries[place];
    *entry = (entry_t){.id = handler->id, .priority = handler->priority};
    if (handler->status != HANDLER_ENABLED && handler->status != HANDLER_SUSPENDED)
        return;
    fault_t fault = {""};
    if (handler->filter && *handler->filter &&
        filter_parse(slice_of(handler->filter), &entry->filter, &fault) != RESULT_OK) {
        fault_set(&matcher->fault, RESULT_INVALID, "handler %lld: filter: %.400s",
                  (long long)handler->id, fault.text);
        entry->unreadable = true;
    }
    matcher->n_matching += !entry->unreadable;
    add_patterns(matcher, handler, place);
    if (entry->filter)
        filter_body_want(matcher->body, entry->filter);
}

static void index_ids(matcher_t *matcher)
{
    matcher->by_id = mem_alloc((matcher->n_entries + 1) * sizeof *matcher->by_id);
    for (size_t i = 0; i < matcher->n_entries; i++)
        matcher->by_id[i] = (uint32_t)i;
    qsort_r(matcher->by_id, matcher->n_entries, sizeof *matcher->by_id, compare_by_id,
            matcher->entries);
}

static void index_filters(const matcher_t *matcher, list_t *list)
{
    const filter_t **filters = mem_alloc((list->n + 1) * sizeof *filters);
    for (size_t i = 0; i < list->n; i++)
        filters[i] = matcher->entries[list->places[i]].filter;
    list->index = filter_index_new(filters, list->n);
    free(filters);
}

matcher_t *matcher_new(const handler_t *const *handlers, size_t n)
{
    matcher_t *matcher = MEM_NEW(matcher_t);
    matcher->body = filter_body_new();
    matcher->entries = mem_alloc((n + 1) * sizeof *matcher->entries);
    matcher->found = mem_alloc((n + 1) * sizeof *matcher->found);
    matcher->targets = mem_alloc((n + 1) * sizeof *matcher->targets);
    index_lists(matcher);
    const handler_t **sorted = mem_alloc((n + 1) * sizeof *sorted);
    size_t n_sorted = 0;
    for (size_t i = 0; i < n; i++)
        if (handlers[i]->status != HANDLER_ARCHIVED && handlers[i]->status != HANDLER_DELETED)
            sorted[n_sorted++] = handlers[i];
    qsort(sorted, n_sorted, sizeof *sorted, compare_by_priority);
    for (size_t i = 0; i < n_sorted; i++)
        add_handler(matcher, sorted[i]);
    free(sorted);
    for (size_t i = 0; i < matcher->n_lists; i++)
        index_filters(matcher, &matcher->lists[i]);
    index_ids(matcher);
    return matcher;
}

void matcher_destroy(matcher_t **matcher)
{
    if (!*matcher)
        return;
    for (size_t i = 0; i < (*matcher)->n_lists; i++) {
        free((*matcher)->lists[i].pattern);
        free((*matcher)->lists[i].places);
        filter_index_destroy(&(*matcher)->lists[i].index);
    }
    for (size_t i = 0; i < (*matcher)->n_entries; i++)
        filter_destroy(&(*matcher)->entries[i].filter);
    filter_body_destroy(&(*matcher)->body);
    free((*matcher)->lists);
    free((*matcher)->slots);
    free((*matcher)->entries);
    free((*matcher)->by_id);
    free((*matcher)->found);
    free((*matcher)->targets);
    free(*matcher);
    *matcher = NULL;
}

size_t matcher_size(const matcher_t *matcher)
{
    return matcher->n_matching;
}

const char *matcher_fault(const matcher_t *matcher)
{
    return matcher->fault.text[0] ? matcher->fault.text : NULL;
}

/* --- matching --- */

/* Takes the list's handlers whose filter lets the event pass. */
static void take_list(matcher_t *matcher, const list_t *list)
{
    if (!list)
        return;
    ENSURE(matcher->n_found + list->n <= matcher->n_entries);
    uint32_t *found = matcher->found + matcher->n_found;
    size_t n = filter_index_pass(list->index, matcher->body, found);
    for (size_t i = 0; i < n; i++)
        found[i] = list->places[found[i]];
    matcher->n_found += n;
    matcher->unsure |= list->unsure;
}

static void sort_found(matcher_t *matcher)
{
    for (size_t i = 1; i < matcher->n_found; i++) {
        if (matcher->found[i - 1] > matcher->found[i]) {
            qsort(matcher->found, matcher->n_found, sizeof *matcher->found, compare_places);
            return;
        }
    }
}

/* "*", "clients.*" and "clients.accounts.*" for "clients.accounts.create", then the id itself. */
static void find_places(matcher_t *matcher, slice_t id)
{
    uint64_t state = hash_begin();
    matcher->n_found = 0;
    for (size_t i = 0; i <= id.size; i++) {
        if (i == 0 || (i < id.size && id.data[i - 1] == '.')) {
            uint64_t hash = hash_end(hash_add(state, "*", 1));
            take_list(matcher, find_list(matcher, hash, (slice_t){id.data, i}, '*'));
        }
        if (i < id.size)
            state = hash_add(state, id.data + i, 1);
    }
    bool is_pattern = id.size > 0 && id.data[id.size - 1] == '*'; /* no id of ours; found above */
    if (!is_pattern)
        take_list(matcher, find_list(matcher, hash_end(state), id, 0));
    sort_found(matcher);
}

static void find_replayed(matcher_t *matcher, int64_t id)
{
    size_t low = 0, high = matcher->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (matcher->entries[matcher->by_id[middle]].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    matcher->n_found = 0;
    if (low < matcher->n_entries && matcher->entries[matcher->by_id[low]].id == id)
        matcher->found[matcher->n_found++] = matcher->by_id[low];
}

size_t matcher_match(matcher_t *matcher, const event_t *event, const target_t **ret_targets)
{
    matcher->unsure = false;
    if (event->replay_handler != 0) {
        find_replayed(matcher, event->replay_handler);
    } else {
        filter_body_set(matcher->body, event->body);
        find_places(matcher, event->events_id);
    }
    for (size_t i = 0; i < matcher->n_found; i++) {
        const entry_t *entry = &matcher->entries[matcher->found[i]];
        matcher->targets[i] = (target_t){.handler_id = entry->id, .priority = entry->priority};
    }
    *ret_targets = matcher->targets;
    return matcher->n_found;
}

bool matcher_unsure(const matcher_t *matcher)
{
    return matcher->unsure;
}
