#include "common/service/handlers_row.h"
#include "common/base/mem.h"

#include <stdlib.h>

const char handlers_row_schema[] =
    "CREATE TABLE handlers (id ${key}, version BIGINT NOT NULL, name TEXT NOT NULL,"
    " type INTEGER NOT NULL, status INTEGER NOT NULL, status_reason TEXT, events TEXT NOT NULL,"
    " task TEXT NOT NULL, priority BIGINT NOT NULL, description TEXT, filter TEXT, secrets TEXT,"
    " headers TEXT, timeout_ms BIGINT NOT NULL, retry TEXT, max_age_ms BIGINT NOT NULL,"
    " hold_ms BIGINT NOT NULL, window_size BIGINT NOT NULL, rate BIGINT NOT NULL,"
    " ordering INTEGER NOT NULL, http2 BIGINT NOT NULL, ca_file TEXT, cert_file TEXT,"
    " key_file TEXT, tls INTEGER NOT NULL, created_ms BIGINT NOT NULL,"
    " updated_ms BIGINT NOT NULL)";

typedef enum { COLUMN_INT, COLUMN_ENUM, COLUMN_TEXT } column_type_t;

typedef struct {
    const char *name;
    column_type_t type;
    size_t offset;
} column_t;

#define COLUMN_AS(kind, member, name)                                                              \
    {                                                                                              \
        name, COLUMN_##kind, offsetof(handler_t, member)                                           \
    }
#define COLUMN(kind, member) COLUMN_AS(kind, member, #member)

/* Statements have them in this order; id comes first. */
static const column_t columns[] = {
    COLUMN(INT, id),
    COLUMN(INT, version),
    COLUMN(TEXT, name),
    COLUMN(ENUM, type),
    COLUMN(ENUM, status),
    COLUMN(TEXT, status_reason),
    COLUMN(TEXT, events),
    COLUMN(TEXT, task),
    COLUMN(INT, priority),
    COLUMN(TEXT, description),
    COLUMN(TEXT, filter),
    COLUMN(TEXT, secrets),
    COLUMN(TEXT, headers),
    COLUMN(INT, timeout_ms),
    COLUMN(TEXT, retry),
    COLUMN(INT, max_age_ms),
    COLUMN(INT, hold_ms),
    COLUMN_AS(INT, window, "window_size"), /* "window" is a reserved word */
    COLUMN(INT, rate),
    COLUMN(ENUM, ordering),
    COLUMN(INT, http2),
    COLUMN(TEXT, ca_file),
    COLUMN(TEXT, cert_file),
    COLUMN(TEXT, key_file),
    COLUMN(ENUM, tls),
    COLUMN(INT, created_ms),
    COLUMN(INT, updated_ms),
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

_Static_assert(sizeof(handler_type_t) == sizeof(int) && sizeof(handler_status_t) == sizeof(int) &&
                   sizeof(handler_ordering_t) == sizeof(int) &&
                   sizeof(handler_tls_t) == sizeof(int),
               "COLUMN_ENUM reads and writes an enum as an int");

static void *member_of(const handler_t *handler, const column_t *column)
{
    return (char *)handler + column->offset;
}

static void add_names(buf_t *sql)
{
    for (int i = 0; i < N_COLUMNS; i++)
        buf_printf(sql, "%s%s", i ? ", " : "", columns[i].name);
}

void handlers_row_select_sql(buf_t *ret_sql)
{
    buf_clear(ret_sql);
    buf_add_str(ret_sql, "SELECT ");
    add_names(ret_sql);
    buf_add_str(ret_sql, " FROM handlers WHERE version > $1 ORDER BY id");
}

void handlers_row_put_sql(buf_t *ret_sql)
{
    buf_clear(ret_sql);
    buf_add_str(ret_sql, "INSERT INTO handlers (");
    add_names(ret_sql);
    buf_add_str(ret_sql, ") VALUES (");
    for (int i = 0; i < N_COLUMNS; i++)
        buf_printf(ret_sql, "%s$%d", i ? ", " : "", i + 1);
    buf_add_str(ret_sql, ") ON CONFLICT (id) DO UPDATE SET ");
    for (int i = 1; i < N_COLUMNS; i++)
        buf_printf(ret_sql, "%s%s = excluded.%s", i > 1 ? ", " : "", columns[i].name,
                   columns[i].name);
}

void handlers_row_bind(db_stmt_t *stmt, const handler_t *handler)
{
    for (int i = 0; i < N_COLUMNS; i++) {
        const void *member = member_of(handler, &columns[i]);
        switch (columns[i].type) {
        case COLUMN_INT:
            db_bind_int(stmt, i + 1, *(const int64_t *)member);
            break;
        case COLUMN_ENUM:
            db_bind_int(stmt, i + 1, *(const int *)member);
            break;
        case COLUMN_TEXT:
            db_bind_text(stmt, i + 1, slice_of(*(char *const *)member));
            break;
        }
    }
}

static void read_text(slice_t value, char **member)
{
    free(*member);
    *member = value.data ? mem_strndup(value.data, value.size) : NULL;
}

void handlers_row_read(db_stmt_t *stmt, handler_t *ret_handler)
{
    for (int i = 0; i < N_COLUMNS; i++) {
        void *member = member_of(ret_handler, &columns[i]);
        switch (columns[i].type) {
        case COLUMN_INT:
            *(int64_t *)member = db_int(stmt, i);
            break;
        case COLUMN_ENUM:
            *(int *)member = (int)db_int(stmt, i);
            break;
        case COLUMN_TEXT:
            read_text(db_slice(stmt, i), member);
            break;
        }
    }
}
