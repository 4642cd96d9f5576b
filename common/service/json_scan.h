/* json_scan: walking JSON text in place, without a tree and without allocating. Made for text that
 * was validated before; of other text it says nothing useful but never reads outside of it. */
#ifndef PROVISOR_JSON_SCAN_H
#define PROVISOR_JSON_SCAN_H

#include "common/base/buf.h"

/* The first character from at on that is not white space; end when there is none. */
const char *json_scan_space(const char *at, const char *end);
/* at is a '"'. Gives what is behind the closing one, NULL when there is none. ret_escaped: there is
 * a backslash between. */
const char *json_scan_string(const char *at, const char *end, bool *ret_escaped);
/* Behind the value that begins at at; NULL when the text ends in it. */
const char *json_scan_value(const char *at, const char *end);
/* Behind the bracket that closes the object or array that at is inside of; NULL likewise. */
const char *json_scan_close(const char *at, const char *end);
/* Adds what is between a string's quotes with its escapes resolved: at most as many bytes as it
 * has. A lone surrogate stays itself, in three bytes. */
void json_scan_unescape(slice_t raw, buf_t *to);

#endif
