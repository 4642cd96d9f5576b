#include "services/cli/print.h"

#include <stdio.h>

static void write_tree(json_writer_t *w, const json_tree_t *tree)
{
    if (YAJL_IS_STRING(tree)) {
        json_str(w, tree->u.string);
    } else if (YAJL_IS_NUMBER(tree)) {
        json_raw(w, slice_of(tree->u.number.r));
    } else if (YAJL_IS_TRUE(tree) || YAJL_IS_FALSE(tree)) {
        json_bool(w, YAJL_IS_TRUE(tree));
    } else if (YAJL_IS_ARRAY(tree)) {
        json_open_array(w);
        for (size_t i = 0; i < tree->u.array.len; i++)
            write_tree(w, tree->u.array.values[i]);
        json_close_array(w);
    } else if (YAJL_IS_OBJECT(tree)) {
        json_open_object(w);
        for (size_t i = 0; i < tree->u.object.len; i++) {
            json_key(w, tree->u.object.keys[i]);
            write_tree(w, tree->u.object.values[i]);
        }
        json_close_object(w);
    } else {
        json_null(w);
    }
}

void print_tree(const json_tree_t *tree, buf_t *ret_json)
{
    json_writer_t w;
    if (!tree)
        return;
    json_begin(&w, ret_json);
    write_tree(&w, tree);
}

bool print_number(const json_tree_t *tree, buf_t *ret_text)
{
    if (!YAJL_IS_NUMBER(tree))
        return false;
    buf_add_str(ret_text, tree->u.number.r);
    return true;
}

void print_lines(const json_tree_t *array)
{
    for (size_t i = 0; YAJL_IS_ARRAY(array) && i < array->u.array.len; i++) {
        AUTO_BUF line = {0};
        print_tree(array->u.array.values[i], &line);
        printf("%s\n", line.data);
    }
    fflush(stdout);
}

void print_date(const char *at, buf_t *ret_text)
{
    if (at && strlen(at) >= 19)
        buf_printf(ret_text, "%.10s %.8s", at, at + 11);
}

void print_age(int64_t ms, buf_t *ret_text)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{172800000, "d"}, {7200000, "h"}, {120000, "min"}, {1000, "s"}};
    static const int64_t sizes[] = {86400000, 3600000, 60000, 1000};
    for (size_t i = 0; i < 4; i++)
        if (ms >= units[i].ms) {
            buf_printf(ret_text, "%lld %s", (long long)(ms / sizes[i]), units[i].unit);
            return;
        }
    buf_printf(ret_text, "%lld ms", (long long)ms);
}
