/* handlers_row: a handler as a row of the table handlers. Columns are declared once, for the schema
 * and both directions. Used by handlers.c only. */
#ifndef PROVISOR_HANDLERS_ROW_H
#define PROVISOR_HANDLERS_ROW_H

#include "common/db/db.h"
#include "common/service/handler.h"

/* CREATE TABLE of schema version 1. */
extern const char handlers_row_schema[];
/* "SELECT <columns> FROM handlers WHERE version > $1 ORDER BY id" */
void handlers_row_select_sql(buf_t *ret_sql);
/* Inserts the row, or replaces the one with this id. */
void handlers_row_put_sql(buf_t *ret_sql);
/* Binds every column; the statement is one of handlers_row_put_sql. */
void handlers_row_bind(db_stmt_t *stmt, const handler_t *handler);
/* The current row of a handlers_row_select_sql statement; ret_handler's former texts are freed. */
void handlers_row_read(db_stmt_t *stmt, handler_t *ret_handler);

#endif
