/* table: rows for people. Columns are as wide as their widest cell, the last one takes what the
 * terminal has left; text from outside cannot steer the terminal (terminal.h). */
#ifndef PROVISOR_TABLE_H
#define PROVISOR_TABLE_H

#include "common/base/buf.h"

typedef struct table_t table_t;

/* titles: n of them, borrowed. */
table_t *table_new(const char *const *titles, size_t n);
void table_destroy(table_t **table);
/* The next cell, from left to right; a row is complete after n cells. NULL: empty. */
void table_cell(table_t *table, const char *text);
void table_cellf(table_t *table, const char *format, ...) PRINTF_LIKE(2, 3);
/* width: of the terminal, 0: not cut. */
void table_print(const table_t *table, int width, buf_t *ret_text);
/* Width of stdout's terminal, 0 when it is none. */
int table_terminal_width(void);

#endif
