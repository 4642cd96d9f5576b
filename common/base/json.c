#include "common/base/json.h"
#include "common/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>

void json_begin(json_writer_t *w, buf_t *to)
{
    *w = (json_writer_t){.to = to};
}

static void before_value(json_writer_t *w)
{
    if (w->comma)
        buf_add_char(w->to, ',');
    w->comma = true;
}

static void open(json_writer_t *w, char bracket)
{
    before_value(w);
    buf_add_char(w->to, bracket);
    w->comma = false;
}

static void close_with(json_writer_t *w, char bracket)
{
    buf_add_char(w->to, bracket);
    w->comma = true;
}

void json_open_object(json_writer_t *w)
{
    open(w, '{');
}

void json_close_object(json_writer_t *w)
{
    close_with(w, '}');
}

void json_open_array(json_writer_t *w)
{
    open(w, '[');
}

void json_close_array(json_writer_t *w)
{
    close_with(w, ']');
}

static void add_escaped(buf_t *to, slice_t text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\') {
            buf_add_char(to, '\\');
            buf_add_char(to, (char)c);
        } else if (c == '\n') {
            buf_add_str(to, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(to, "\\u%04x", c);
        } else {
            buf_add_char(to, (char)c);
        }
    }
}

void json_slice(json_writer_t *w, slice_t text)
{
    if (!text.data) {
        json_null(w);
        return;
    }
    before_value(w);
    buf_add_char(w->to, '"');
    if (utf8_valid(text)) {
        add_escaped(w->to, text);
    } else {
        AUTO_BUF repaired = {0};
        utf8_repair(&repaired, text);
        add_escaped(w->to, buf_slice(&repaired));
    }
    buf_add_char(w->to, '"');
}

void json_str(json_writer_t *w, const char *text)
{
    json_slice(w, slice_of(text));
}

void json_key(json_writer_t *w, const char *key)
{
    json_str(w, key);
    buf_add_char(w->to, ':');
    w->comma = false;
}

void json_int(json_writer_t *w, int64_t value)
{
    before_value(w);
    buf_printf(w->to, "%lld", (long long)value);
}

void json_bool(json_writer_t *w, bool value)
{
    json_raw(w, slice_of(value ? "true" : "false"));
}

void json_null(json_writer_t *w)
{
    json_raw(w, SLICE("null"));
}

void json_raw(json_writer_t *w, slice_t json)
{
    before_value(w);
    buf_add_slice(w->to, json);
}

void json_key_str(json_writer_t *w, const char *key, const char *text)
{
    json_key(w, key);
    json_str(w, text);
}

void json_key_slice(json_writer_t *w, const char *key, slice_t text)
{
    json_key(w, key);
    json_slice(w, text);
}

void json_key_int(json_writer_t *w, const char *key, int64_t value)
{
    json_key(w, key);
    json_int(w, value);
}

void json_key_bool(json_writer_t *w, const char *key, bool value)
{
    json_key(w, key);
    json_bool(w, value);
}

/* yajl's tree is freed recursively, so the depth is bounded before it is built. */
static result_t check_depth(slice_t text, fault_t *fault)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX)
                return fault_set(fault, RESULT_INVALID, "nested deeper than %d levels",
                                 JSON_DEPTH_MAX);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return RESULT_OK;
}

static result_t check_keys(const json_tree_t *tree, fault_t *fault)
{
    result_t r = RESULT_OK;
    if (YAJL_IS_ARRAY(tree))
        for (size_t i = 0; i < tree->u.array.len && r == RESULT_OK; i++)
            r = check_keys(tree->u.array.values[i], fault);
    if (!YAJL_IS_OBJECT(tree))
        return r;
    for (size_t i = 0; i < tree->u.object.len && r == RESULT_OK; i++) {
        for (size_t j = 0; j < i; j++)
            if (strcmp(tree->u.object.keys[i], tree->u.object.keys[j]) == 0)
                return fault_set(fault, RESULT_INVALID, "member \"%s\" stands twice",
                                 tree->u.object.keys[i]);
        r = check_keys(tree->u.object.values[i], fault);
    }
    return r;
}

result_t json_parse(slice_t text, json_tree_t **ret_tree, fault_t *fault)
{
    result_t r = check_depth(text, fault);
    if (r != RESULT_OK)
        return r;
    if (memchr(text.data, 0, text.size))
        return fault_set(fault, RESULT_INVALID, "a zero byte is not JSON");
    AUTO_BUF terminated = {0};
    buf_add_slice(&terminated, text);
    char why[256] = "";
    json_tree_t *tree = yajl_tree_parse(terminated.data, why, sizeof why);
    if (!tree) {
        why[strcspn(why, "\n")] = 0;
        return fault_set(fault, RESULT_INVALID, "%s", *why ? why : "empty text");
    }
    r = check_keys(tree, fault);
    if (r != RESULT_OK) {
        yajl_tree_free(tree);
        return r;
    }
    *ret_tree = tree;
    return RESULT_OK;
}

void json_tree_destroy(json_tree_t **tree)
{
    if (*tree)
        yajl_tree_free(*tree);
    *tree = NULL;
}

const json_tree_t *json_get(const json_tree_t *tree, const char *key)
{
    if (!YAJL_IS_OBJECT(tree))
        return NULL;
    for (size_t i = 0; i < tree->u.object.len; i++)
        if (strcmp(tree->u.object.keys[i], key) == 0)
            return tree->u.object.values[i];
    return NULL;
}

const char *json_get_str(const json_tree_t *tree, const char *key)
{
    const json_tree_t *value = json_get(tree, key);
    return YAJL_IS_STRING(value) ? value->u.string : NULL;
}

int64_t json_get_int(const json_tree_t *tree, const char *key, int64_t otherwise)
{
    const json_tree_t *value = json_get(tree, key);
    return YAJL_IS_INTEGER(value) ? value->u.number.i : otherwise;
}

bool json_get_bool(const json_tree_t *tree, const char *key, bool otherwise)
{
    const json_tree_t *value = json_get(tree, key);
    return YAJL_IS_TRUE(value) ? true : YAJL_IS_FALSE(value) ? false : otherwise;
}
