#include "services/deliverer/custody.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

#include <stdlib.h>

typedef struct {
    char id[ULID_SIZE]; /* not terminated */
    bool committed;
    bool unmatched;
} known_t;

/* What is known of one node and partition. Ids come almost in order, so a sorted array is small and
 * fast: a new one goes to the end, low_water cuts off the front. */
typedef struct {
    char node[CUSTODY_NODE_MAX + 1];
    int partition;
    ulid_t low_water;
    known_t *ids; /* sorted; the live ones are first .. first + n - 1 */
    size_t first, n, capacity;
} source_t;

struct custody_t {
    source_t **sources;
    size_t n_sources;
    size_t last; /* the one that was asked for last: the next question is often for it */
};

custody_t *custody_new(void)
{
    return MEM_NEW(custody_t);
}

void custody_destroy(custody_t **custody)
{
    if (!*custody)
        return;
    for (size_t i = 0; i < (*custody)->n_sources; i++) {
        free((*custody)->sources[i]->ids);
        free((*custody)->sources[i]);
    }
    free((*custody)->sources);
    free(TAKE(*custody));
}

static bool source_is(const source_t *source, slice_t node, int partition)
{
    return source->partition == partition && slice_is(node, source->node);
}

static source_t *find_source(custody_t *custody, slice_t node, int partition)
{
    if (custody->n_sources && source_is(custody->sources[custody->last], node, partition))
        return custody->sources[custody->last];
    for (size_t i = 0; i < custody->n_sources; i++)
        if (source_is(custody->sources[i], node, partition)) {
            custody->last = i;
            return custody->sources[i];
        }
    return NULL;
}

static source_t *need_source(custody_t *custody, slice_t node, int partition)
{
    source_t *source = find_source(custody, node, partition);
    if (source)
        return source;
    ENSURE(node.size <= CUSTODY_NODE_MAX);
    source = MEM_NEW(source_t);
    memcpy(source->node, node.data, node.size);
    source->partition = partition;
    custody->sources =
        mem_realloc(custody->sources, (custody->n_sources + 1) * sizeof *custody->sources);
    custody->last = custody->n_sources;
    custody->sources[custody->n_sources++] = source;
    return source;
}

/* The place of id among the live ones, or where it would go. */
static size_t place_of(const source_t *source, const ulid_t *id)
{
    size_t low = source->first;
    size_t high = source->first + source->n;
    if (source->n && memcmp(source->ids[high - 1].id, id->text, ULID_SIZE) < 0)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(source->ids[middle].id, id->text, ULID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static known_t *find_known(const source_t *source, const ulid_t *id)
{
    size_t place = place_of(source, id);
    if (place == source->first + source->n ||
        memcmp(source->ids[place].id, id->text, ULID_SIZE) != 0)
        return NULL;
    return &source->ids[place];
}

static known_t *insert(source_t *source, const ulid_t *id)
{
    if (source->first + source->n == source->capacity) {
        if (source->first > source->capacity / 2) {
            memmove(source->ids, source->ids + source->first, source->n * sizeof *source->ids);
            source->first = 0;
        } else {
            source->capacity = source->capacity ? source->capacity * 2 : 16;
            source->ids = mem_realloc(source->ids, source->capacity * sizeof *source->ids);
        }
    }
    size_t place = place_of(source, id);
    memmove(source->ids + place + 1, source->ids + place,
            (source->first + source->n - place) * sizeof *source->ids);
    source->n++;
    source->ids[place] = (known_t){.committed = false};
    memcpy(source->ids[place].id, id->text, ULID_SIZE);
    return &source->ids[place];
}

bool custody_raise(custody_t *custody, slice_t node, int partition, const ulid_t *low_water)
{
    bool seen = find_source(custody, node, partition) != NULL;
    source_t *source = need_source(custody, node, partition);
    if (seen && strcmp(low_water->text, source->low_water.text) <= 0)
        return false;
    source->low_water = *low_water;
    if (low_water->text[0]) {
        size_t place = place_of(source, low_water);
        source->n -= place - source->first;
        source->first = source->n ? place : 0;
    }
    return true;
}

custody_verdict_t custody_take(custody_t *custody, slice_t node, int partition, const ulid_t *id,
                               bool *unmatched)
{
    source_t *source = need_source(custody, node, partition);
    if (strcmp(id->text, source->low_water.text) < 0) {
        *unmatched = false;
        return CUSTODY_BELOW;
    }
    const known_t *known = find_known(source, id);
    if (!known) {
        insert(source, id)->unmatched = *unmatched;
        return CUSTODY_NEW;
    }
    *unmatched = known->unmatched;
    return known->committed ? CUSTODY_KNOWN : CUSTODY_RUNNING;
}

bool custody_expects(custody_t *custody, slice_t node, int partition, const ulid_t *id)
{
    const source_t *source = find_source(custody, node, partition);
    return source && (strcmp(id->text, source->low_water.text) < 0 ||
                      place_of(source, id) < source->first + source->n);
}

void custody_committed(custody_t *custody, slice_t node, int partition, const ulid_t *id)
{
    const source_t *source = find_source(custody, node, partition);
    known_t *known = source ? find_known(source, id) : NULL;
    if (known)
        known->committed = true;
}

void custody_restore(custody_t *custody, slice_t node, int partition, const ulid_t *id,
                     bool unmatched)
{
    source_t *source = need_source(custody, node, partition);
    known_t *known = find_known(source, id);
    if (!known)
        known = insert(source, id);
    known->committed = true;
    known->unmatched = unmatched;
}

ulid_t custody_low_water(const custody_t *custody, slice_t node, int partition)
{
    for (size_t i = 0; i < custody->n_sources; i++)
        if (source_is(custody->sources[i], node, partition))
            return custody->sources[i]->low_water;
    return (ulid_t){""};
}

size_t custody_size(const custody_t *custody)
{
    size_t size = 0;
    for (size_t i = 0; i < custody->n_sources; i++)
        size += custody->sources[i]->n;
    return size;
}

bool custody_source(const custody_t *custody, size_t i, slice_t *ret_node, int *ret_partition)
{
    if (i >= custody->n_sources)
        return false;
    *ret_node = slice_of(custody->sources[i]->node);
    *ret_partition = custody->sources[i]->partition;
    return true;
}
