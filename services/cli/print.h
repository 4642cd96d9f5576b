/* print: values of answers as text. */
#ifndef PROVISOR_PRINT_H
#define PROVISOR_PRINT_H

#include "common/base/json.h"

/* The tree as JSON again; numbers as they came. Nothing for NULL. */
void print_tree(const json_tree_t *tree, buf_t *ret_json);
/* A number as it came; false when it is none. */
bool print_number(const json_tree_t *tree, buf_t *ret_text);
/* Each element of the array on a line of its own, to stdout. */
void print_lines(const json_tree_t *array);
/* "2026-01-01 00:00:00" from a record's "2026-01-01T00:00:00.123Z". */
void print_date(const char *at, buf_t *ret_text);
/* "3 s", "12 min", "4 h", "2 d". */
void print_age(int64_t ms, buf_t *ret_text);

#endif
