#include "common/service/filter_parts.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/service/json_scan.h"

#include <stdio.h>
#include <stdlib.h>

/* A tree of the paths that were ever asked for is walked along with the text, so that one reading
 * collects them all, whatever is between is skipped, and the rest is not read once all are found.
 */
enum { NONE = UINT32_MAX, NODES_MAX = 65536 /* beyond it, all paths are forgotten */ };

typedef struct {
    char *path;        /* as in filter_path_t; the root's is empty */
    size_t size;       /* of path */
    size_t token;      /* where the last token of path begins */
    uint64_t state;    /* of the hash over path */
    uint64_t hash;     /* hash_end (state) */
    uint32_t parent;   /* place in nodes */
    bool is_asked;     /* a filter asks for it; otherwise it is only on the way */
    bool has_children; /* a path goes on below it */
    int64_t index_max; /* the greatest array index among its children; -1: none */
    uint64_t reading;  /* value is of this reading; of another one: missing */
    filter_value_t value;
} node_t;

struct filter_body_t {
    slice_t json;
    bool is_read;
    uint64_t reading; /* its number, rises */
    size_t n_missing; /* in this reading: paths asked for and not found yet */
    node_t *nodes;    /* [0] is the root */
    size_t n_nodes, capacity;
    size_t n_asked;
    uint32_t *slots; /* by hash, open addressing; 1 + place in nodes, 0: free */
    size_t n_slots;
    buf_t strings; /* unescaped values of this reading; never grows while they are borrowed */
    buf_t key;     /* an unescaped key */
};

static slice_t token_of(const node_t *node)
{
    return (slice_t){node->path + node->token, node->size - node->token - 1};
}

static void add_slot(filter_body_t *body, uint32_t place)
{
    size_t i = body->nodes[place].hash & (body->n_slots - 1);
    while (body->slots[i])
        i = (i + 1) & (body->n_slots - 1);
    body->slots[i] = place + 1;
}

static void grow_slots(filter_body_t *body)
{
    free(body->slots);
    body->n_slots = body->n_slots ? body->n_slots * 2 : 64;
    body->slots = mem_alloc(body->n_slots * sizeof *body->slots);
    for (size_t i = 0; i < body->n_nodes; i++)
        add_slot(body, (uint32_t)i);
}

static uint64_t child_state(const filter_body_t *body, uint32_t parent, slice_t token)
{
    static const char token_end = FILTER_TOKEN_END;
    return hash_add(hash_add(body->nodes[parent].state, token.data, token.size), &token_end, 1);
}

static uint32_t find_child(const filter_body_t *body, uint32_t parent, slice_t token)
{
    uint64_t hash = hash_end(child_state(body, parent, token));
    for (size_t i = hash & (body->n_slots - 1); body->slots[i]; i = (i + 1) & (body->n_slots - 1)) {
        const node_t *node = &body->nodes[body->slots[i] - 1];
        if (node->hash == hash && node->parent == parent && node->size > 0 &&
            slice_equal(token_of(node), token))
            return body->slots[i] - 1;
    }
    return NONE;
}

static uint32_t find_path(const filter_body_t *body, const filter_path_t *path)
{
    slice_t bytes = {path->bytes, path->size};
    for (size_t i = path->hash & (body->n_slots - 1); body->slots[i];
         i = (i + 1) & (body->n_slots - 1)) {
        const node_t *node = &body->nodes[body->slots[i] - 1];
        if (node->hash == path->hash && slice_equal((slice_t){node->path, node->size}, bytes))
            return body->slots[i] - 1;
    }
    return NONE;
}

static uint32_t add_node(filter_body_t *body, node_t node)
{
    if (body->n_nodes == body->capacity) {
        body->capacity = body->capacity ? body->capacity * 2 : 16;
        body->nodes = mem_realloc(body->nodes, body->capacity * sizeof *body->nodes);
    }
    node.hash = hash_end(node.state);
    node.index_max = -1;
    body->nodes[body->n_nodes++] = node;
    if (body->n_nodes * 2 > body->n_slots)
        grow_slots(body);
    else
        add_slot(body, (uint32_t)body->n_nodes - 1);
    return (uint32_t)body->n_nodes - 1;
}

/* -1: no array has an element of that name */
static int64_t index_of(slice_t token)
{
    int64_t index = 0;
    if (token.size == 0 || token.size > 9 || (token.size > 1 && token.data[0] == '0'))
        return -1;
    for (size_t i = 0; i < token.size; i++) {
        if (token.data[i] < '0' || token.data[i] > '9')
            return -1;
        index = index * 10 + (token.data[i] - '0');
    }
    return index;
}

static uint32_t add_child(filter_body_t *body, uint32_t parent, slice_t token)
{
    AUTO_BUF path = {0};
    buf_add(&path, body->nodes[parent].path, body->nodes[parent].size);
    buf_add_slice(&path, token);
    buf_add_char(&path, FILTER_TOKEN_END);
    int64_t index = index_of(token);
    node_t *above = &body->nodes[parent];
    above->has_children = true;
    above->index_max = index > above->index_max ? index : above->index_max;
    node_t node = {.size = path.size,
                   .token = above->size,
                   .state = child_state(body, parent, token),
                   .parent = parent};
    node.path = buf_take(&path);
    return add_node(body, node);
}

static void forget_paths(filter_body_t *body)
{
    for (size_t i = 0; i < body->n_nodes; i++)
        free(body->nodes[i].path);
    free(body->slots);
    body->slots = NULL;
    body->n_slots = body->n_nodes = body->n_asked = 0;
    add_node(body, (node_t){.state = hash_begin(), .parent = NONE});
}

filter_body_t *filter_body_new(void)
{
    filter_body_t *body = MEM_NEW(filter_body_t);
    forget_paths(body);
    return body;
}

void filter_body_destroy(filter_body_t **body)
{
    if (!*body)
        return;
    for (size_t i = 0; i < (*body)->n_nodes; i++)
        free((*body)->nodes[i].path);
    free((*body)->nodes);
    free((*body)->slots);
    buf_release(&(*body)->strings);
    buf_release(&(*body)->key);
    free(*body);
    *body = NULL;
}

void filter_body_set(filter_body_t *body, slice_t json)
{
    body->json = json;
    body->is_read = false;
}

static uint32_t add_path(filter_body_t *body, const filter_path_t *path)
{
    if (body->n_nodes + FILTER_TOKENS_MAX > NODES_MAX)
        forget_paths(body);
    uint32_t place = 0;
    for (const char *at = path->bytes, *end = at + path->size; at < end;) {
        const char *token_end = memchr(at, FILTER_TOKEN_END, (size_t)(end - at));
        slice_t token = {at, (size_t)(token_end - at)};
        uint32_t child = find_child(body, place, token);
        place = child == NONE ? add_child(body, place, token) : child;
        at = token_end + 1;
    }
    body->nodes[place].is_asked = true;
    body->n_asked++;
    body->is_read = false;
    return place;
}

/* The node of path, which is asked for from now on. */
static uint32_t ask(filter_body_t *body, const filter_path_t *path)
{
    uint32_t place = find_path(body, path);
    return place != NONE && body->nodes[place].is_asked ? place : add_path(body, path);
}

void filter_body_add_path(filter_body_t *body, const filter_path_t *path)
{
    ask(body, path);
}

static slice_t string_value(filter_body_t *body, const char *at, const char *end)
{
    bool escaped = false;
    const char *behind = json_scan_string(at, end, &escaped);
    if (!behind)
        return (slice_t){"", 0};
    slice_t raw = {at + 1, (size_t)(behind - at) - 2};
    if (!escaped)
        return raw;
    buf_reserve(&body->strings, body->json.size - body->strings.size); /* all that can come */
    size_t begin = body->strings.size;
    json_scan_unescape(raw, &body->strings);
    return (slice_t){body->strings.data + begin, body->strings.size - begin};
}

static filter_value_t value_at(filter_body_t *body, const char *at, const char *end)
{
    filter_value_t value = {.type = FILTER_NUMBER};
    switch (at < end ? *at : 0) {
    case 0:
        value.type = FILTER_MISSING;
        break;
    case '{':
    case '[':
        value.type = FILTER_CONTAINER;
        break;
    case '"':
        value.type = FILTER_STRING;
        value.text = string_value(body, at, end);
        break;
    case 't':
        value.type = FILTER_TRUE;
        break;
    case 'f':
        value.type = FILTER_FALSE;
        break;
    case 'n':
        value.type = FILTER_NULL;
        break;
    default:
        value.decimal = decimal_of((slice_t){at, (size_t)(end - at)});
    }
    return value;
}

/* The readers below give what is behind the value, NULL when reading ends: at the end of a
 * malformed text, or because everything was found. */
static const char *read_value(filter_body_t *body, uint32_t place, const char *at);

/* The key that begins at *at; moves *at to its value. False when the text is malformed. */
static bool read_key(filter_body_t *body, const char **at, slice_t *ret_key)
{
    const char *end = body->json.data + body->json.size;
    bool escaped = false;
    const char *behind = **at == '"' ? json_scan_string(*at, end, &escaped) : NULL;
    if (!behind)
        return false;
    *ret_key = (slice_t){*at + 1, (size_t)(behind - *at) - 2};
    if (escaped) {
        buf_clear(&body->key);
        json_scan_unescape(*ret_key, &body->key);
        *ret_key = buf_slice(&body->key);
    }
    *at = json_scan_space(behind, end);
    if (*at == end || **at != ':')
        return false;
    *at = json_scan_space(*at + 1, end);
    return true;
}

static const char *read_object(filter_body_t *body, uint32_t place, const char *at)
{
    const char *end = body->json.data + body->json.size;
    at = json_scan_space(at + 1, end);
    while (at && at < end && *at != '}') {
        slice_t key;
        if (!read_key(body, &at, &key))
            return NULL;
        at = read_value(body, find_child(body, place, key), at);
        if (!at)
            return NULL;
        at = json_scan_space(at, end);
        if (at < end && *at == ',')
            at = json_scan_space(at + 1, end);
    }
    return at < end ? at + 1 : NULL;
}

static const char *read_array(filter_body_t *body, uint32_t place, const char *at)
{
    const char *end = body->json.data + body->json.size;
    int64_t index_max = body->nodes[place].index_max;
    at = json_scan_space(at + 1, end);
    for (int64_t i = 0; at < end && *at != ']' && i <= index_max; i++) {
        char index[24];
        size_t size = (size_t)snprintf(index, sizeof index, "%lld", (long long)i);
        at = read_value(body, find_child(body, place, (slice_t){index, size}), at);
        if (!at)
            return NULL;
        at = json_scan_space(at, end);
        if (at < end && *at == ',')
            at = json_scan_space(at + 1, end);
    }
    return json_scan_close(at, end);
}

static const char *read_value(filter_body_t *body, uint32_t place, const char *at)
{
    const char *end = body->json.data + body->json.size;
    if (place == NONE)
        return json_scan_value(at, end);
    node_t *node = &body->nodes[place];
    if (node->is_asked && node->reading != body->reading) {
        node->reading = body->reading;
        node->value = value_at(body, at, end);
        if (--body->n_missing == 0)
            return NULL;
    }
    if (node->has_children && at < end && *at == '{')
        return read_object(body, place, at);
    if (node->has_children && at < end && *at == '[')
        return read_array(body, place, at);
    return json_scan_value(at, end);
}

const filter_value_t *filter_body_get(filter_body_t *body, const filter_path_t *path)
{
    static const filter_value_t missing = {.type = FILTER_MISSING};
    uint32_t place = ask(body, path);
    if (!body->is_read) {
        const char *begin = body->json.data, *end = begin + body->json.size;
        body->reading++;
        body->n_missing = body->n_asked;
        buf_clear(&body->strings);
        read_value(body, 0, json_scan_space(begin, end));
        body->is_read = true;
    }
    const node_t *node = &body->nodes[place];
    return node->reading == body->reading ? &node->value : &missing;
}
