#include "common/service/catalogue.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/service/catalogue_events.h"

#include <stdlib.h>

enum {
    ID_MAX = 128,      /* of an added id or kind */
    NEAREST_CHARS = 64 /* of an unknown id that catalogue_nearest looks at: the bits of a word */
};

struct catalogue_t {
    catalogue_event_t *events; /* the built-in ones first; texts of the added ones are ours */
    size_t n_events;
    size_t *slots; /* open addressing; 1 + place in events, 0: free; never full */
    size_t n_slots;
};

static size_t *find_slot(const catalogue_t *catalogue, slice_t id)
{
    size_t i = hash_bytes(id.data, id.size) & (catalogue->n_slots - 1);
    while (catalogue->slots[i] && !slice_is(id, catalogue->events[catalogue->slots[i] - 1].id))
        i = (i + 1) & (catalogue->n_slots - 1);
    return &catalogue->slots[i];
}

static void index_events(catalogue_t *catalogue)
{
    free(catalogue->slots);
    catalogue->n_slots = 64;
    while (catalogue->n_slots < catalogue->n_events * 2)
        catalogue->n_slots *= 2;
    catalogue->slots = mem_alloc(catalogue->n_slots * sizeof *catalogue->slots);
    for (size_t i = 0; i < catalogue->n_events; i++)
        *find_slot(catalogue, slice_of(catalogue->events[i].id)) = i + 1;
}

/* [a-z0-9_]+ joined by single dots */
static bool is_name(slice_t text)
{
    char before = '.';
    if (text.size > ID_MAX)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (!letter && (c != '.' || before == '.'))
            return false;
        before = c;
    }
    return before != '.';
}

static void add_event(catalogue_t *catalogue, slice_t id, slice_t kind)
{
    AUTO_BUF object = {0};
    buf_printf(&object, "id of the %.*s", SLICE_ARG(kind));
    size_t n = catalogue->n_events++;
    catalogue->events =
        mem_realloc(catalogue->events, catalogue->n_events * sizeof *catalogue->events);
    catalogue->events[n] = (catalogue_event_t){.id = mem_strndup(id.data, id.size),
                                               .kind = mem_strndup(kind.data, kind.size),
                                               .when = "added by the configuration",
                                               .object_id = "1",
                                               .object = buf_take(&object),
                                               .data = "{}"};
    index_events(catalogue);
}

static result_t add_entry(catalogue_t *catalogue, slice_t entry, fault_t *fault)
{
    const char *equals = memchr(entry.data, '=', entry.size);
    size_t id_size = equals ? (size_t)(equals - entry.data) : entry.size;
    slice_t id = {entry.data, id_size};
    slice_t kind = {equals ? equals + 1 : "", equals ? entry.size - id_size - 1 : 0};
    if (!is_name(id) || !is_name(kind))
        return fault_set(fault, RESULT_INVALID,
                         "\"%.*s\" is not id=kind, such as crm.ticket.create=ticket (small "
                         "letters, digits, '_', with single dots between)",
                         (int)(entry.size < ID_MAX ? entry.size : ID_MAX), entry.data);
    if (catalogue_find(catalogue, id))
        return fault_set(fault, RESULT_INVALID, "event \"%.*s\" is in the catalogue already",
                         SLICE_ARG(id));
    add_event(catalogue, id, kind);
    return RESULT_OK;
}

result_t catalogue_new(const char *extra, catalogue_t **ret_catalogue, fault_t *fault)
{
    catalogue_t *catalogue = MEM_NEW(catalogue_t);
    catalogue->n_events = catalogue_n_events;
    catalogue->events = mem_alloc(catalogue_n_events * sizeof *catalogue->events);
    memcpy(catalogue->events, catalogue_events, catalogue_n_events * sizeof *catalogue->events);
    index_events(catalogue);
    result_t r = RESULT_OK;
    static const char spaces[] = " \t\r\n";
    for (const char *entry = extra ? extra : ""; r == RESULT_OK && *entry;) {
        size_t size = strcspn(entry, spaces);
        if (size)
            r = add_entry(catalogue, (slice_t){entry, size}, fault);
        entry += size;
        entry += strspn(entry, spaces);
    }
    if (r == RESULT_OK)
        *ret_catalogue = catalogue;
    else
        catalogue_destroy(&catalogue);
    return r;
}

void catalogue_destroy(catalogue_t **catalogue)
{
    if (!*catalogue)
        return;
    for (size_t i = catalogue_n_events; i < (*catalogue)->n_events; i++) {
        free((char *)(*catalogue)->events[i].id);
        free((char *)(*catalogue)->events[i].kind);
        free((char *)(*catalogue)->events[i].object);
    }
    free((*catalogue)->events);
    free((*catalogue)->slots);
    free(*catalogue);
    *catalogue = NULL;
}

size_t catalogue_size(const catalogue_t *catalogue)
{
    return catalogue->n_events;
}

const catalogue_event_t *catalogue_at(const catalogue_t *catalogue, size_t i)
{
    ENSURE(i < catalogue->n_events);
    return &catalogue->events[i];
}

const catalogue_event_t *catalogue_find(const catalogue_t *catalogue, slice_t id)
{
    size_t place = *find_slot(catalogue, id);
    return place ? &catalogue->events[place - 1] : NULL;
}

/* The edit distance between pattern (1-64 characters, given as masks: bit i of masks[c] = pattern
 * character i is c) and text, one word operation per character of the text: Myers 1999 in the form
 * of Hyyrö 2001. Who sends unknown ids sends many, so this must be cheap. */
static size_t distance(const uint64_t masks[256], size_t pattern_size, const char *text)
{
    uint64_t rises = ~0ull, falls = 0; /* down the column: +1, -1 against the cell above */
    uint64_t last = 1ull << (pattern_size - 1);
    size_t score = pattern_size;
    for (; *text; text++) {
        uint64_t equal = masks[(unsigned char)*text];
        uint64_t diagonal = (((equal & rises) + rises) ^ rises) | equal | falls;
        uint64_t right = falls | ~(diagonal | rises), left = rises & diagonal;
        score += (right & last) != 0;
        score -= (left & last) != 0;
        right = right << 1 | 1;
        rises = left << 1 | ~(diagonal | right);
        falls = right & diagonal;
    }
    return score;
}

const catalogue_event_t *catalogue_nearest(const catalogue_t *catalogue, slice_t id)
{
    uint64_t masks[256] = {0};
    size_t size = id.size < NEAREST_CHARS ? id.size : NEAREST_CHARS;
    for (size_t i = 0; i < size; i++)
        masks[(unsigned char)id.data[i]] |= 1ull << i;
    const catalogue_event_t *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < catalogue->n_events; i++) {
        const char *known = catalogue->events[i].id;
        size_t d = size ? distance(masks, size, known) : strlen(known);
        if (d < best) {
            best = d;
            nearest = &catalogue->events[i];
        }
    }
    return nearest;
}

bool catalogue_covers(const catalogue_t *catalogue, slice_t pattern)
{
    if (slice_is(pattern, "*"))
        return true;
    if (pattern.size < 3 || memcmp(pattern.data + pattern.size - 2, ".*", 2) != 0)
        return catalogue_find(catalogue, pattern) != NULL;
    size_t prefix = pattern.size - 1; /* with the dot */
    for (size_t i = 0; i < catalogue->n_events; i++) {
        const char *id = catalogue->events[i].id;
        if (strlen(id) > prefix && memcmp(id, pattern.data, prefix) == 0)
            return true;
    }
    return false;
}

void catalogue_sample(const catalogue_event_t *event, buf_t *ret_json)
{
    json_writer_t w;
    json_begin(&w, ret_json);
    json_open_object(&w);
    json_key(&w, "event");
    json_open_object(&w);
    json_key_str(&w, "events_id", event->id);
    json_key(&w, "object_id");
    json_raw(&w, slice_of(event->object_id));
    json_close_object(&w);
    json_key(&w, "data");
    json_raw(&w, slice_of(event->data));
    json_close_object(&w);
}
