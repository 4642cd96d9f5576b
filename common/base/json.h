/* json: JSON for the paths that are not hot: answers, records, settings. A writer, and a reader
 * that gives a tree with numbers kept as text. Both over yajl (docs/adr/0002-json-library.md).
 *
 *     AUTO_BUF text = {0};
 *     json_writer_t w;
 *     json_begin (&w, &text);
 *     json_open_object (&w);
 *     json_key (&w, "status"); json_str (&w, "accepted");
 *     json_close_object (&w);
 */
#ifndef PROVISOR_JSON_H
#define PROVISOR_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <yajl/yajl_tree.h>

#include "common/base/buf.h"

enum { JSON_DEPTH_MAX = 32 };

/* Writes well-formed JSON by construction as long as opens and closes are balanced. */
typedef struct {
    buf_t *to;
    bool comma; /* the next value at this level needs a ',' before it */
} json_writer_t;

void json_begin(json_writer_t *w, buf_t *to);
void json_open_object(json_writer_t *w);
void json_close_object(json_writer_t *w);
void json_open_array(json_writer_t *w);
void json_close_array(json_writer_t *w);
void json_key(json_writer_t *w, const char *key);
/* Malformed UTF-8 becomes U+FFFD. NULL or an absent slice is written as null. */
void json_str(json_writer_t *w, const char *text);
void json_slice(json_writer_t *w, slice_t text);
void json_int(json_writer_t *w, int64_t value);
void json_bool(json_writer_t *w, bool value);
void json_null(json_writer_t *w);
/* Bytes that are JSON already. */
void json_raw(json_writer_t *w, slice_t json);
/* key and value in one call */
void json_key_str(json_writer_t *w, const char *key, const char *text);
void json_key_slice(json_writer_t *w, const char *key, slice_t text);
void json_key_int(json_writer_t *w, const char *key, int64_t value);
void json_key_bool(json_writer_t *w, const char *key, bool value);

/* A parsed value. Ends with json_tree_destroy (). */
typedef struct yajl_val_s json_tree_t;

/* RESULT_INVALID with line-free "what, where" when the text is not exactly one JSON value of at
 * most JSON_DEPTH_MAX levels. Duplicate keys are refused. */
result_t json_parse(slice_t text, json_tree_t **ret_tree, fault_t *fault) MUST_CHECK;
void json_tree_destroy(json_tree_t **tree);

/* Members of an object: NULL, or the default, when absent or of another type. */
const json_tree_t *json_get(const json_tree_t *tree, const char *key);
const char *json_get_str(const json_tree_t *tree, const char *key);
int64_t json_get_int(const json_tree_t *tree, const char *key, int64_t otherwise);
bool json_get_bool(const json_tree_t *tree, const char *key, bool otherwise);

#endif
