#include "services/cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "services/cli/terminal.h"

struct table_t {
    const char *const *titles;
    size_t columns;
    char **cells; /* row by row */
    size_t n_cells;
    size_t capacity;
};

table_t *table_new(const char *const *titles, size_t n)
{
    table_t *table = MEM_NEW(table_t);
    table->titles = titles;
    table->columns = n;
    return table;
}

void table_destroy(table_t **table)
{
    if (!*table)
        return;
    for (size_t i = 0; i < (*table)->n_cells; i++)
        free((*table)->cells[i]);
    free((*table)->cells);
    free(*table);
    *table = NULL;
}

void table_cell(table_t *table, const char *text)
{
    if (table->n_cells == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 64;
        table->cells = mem_realloc(table->cells, table->capacity * sizeof *table->cells);
    }
    buf_t cell = {0};
    terminal_add_line(&cell, slice_of(text));
    table->cells[table->n_cells++] = buf_take(&cell);
}

void table_cellf(table_t *table, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    table_cell(table, text);
}

/* Characters, not bytes: continuation bytes of UTF-8 take no place. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void add_cell(buf_t *to, const char *text, size_t width, bool pad)
{
    size_t used = 0;
    for (const char *c = text; *c; c++) {
        bool starts = ((unsigned char)*c & 0xc0) != 0x80;
        if (starts && used == width)
            break;
        used += starts;
        buf_add_char(to, *c);
    }
    for (; pad && used < width; used++)
        buf_add_char(to, ' ');
}

static void add_row(const table_t *table, const size_t *widths, const char *const *cells, buf_t *to)
{
    for (size_t i = 0; i < table->columns; i++) {
        bool last = i + 1 == table->columns;
        add_cell(to, cells[i], widths[i], !last);
        if (!last)
            buf_add_str(to, "  ");
    }
    while (to->size && to->data[to->size - 1] == ' ')
        to->data[--to->size] = 0;
    buf_add_char(to, '\n');
}

void table_print(const table_t *table, int terminal, buf_t *ret_text)
{
    size_t *widths = mem_alloc(table->columns * sizeof *widths);
    size_t before_last = 0, n = table->columns;
    ENSURE(n > 0);
    for (size_t i = 0; i < n; i++)
        widths[i] = width_of(table->titles[i]);
    for (size_t i = 0; i < table->n_cells; i++)
        if (width_of(table->cells[i]) > widths[i % n])
            widths[i % n] = width_of(table->cells[i]);
    for (size_t i = 0; i + 1 < n; i++)
        before_last += widths[i] + 2;
    size_t room =
        terminal > 0 && (size_t)terminal > before_last + 10 ? (size_t)terminal - before_last : 10;
    if (terminal > 0 && widths[n - 1] > room)
        widths[n - 1] = room;
    add_row(table, widths, table->titles, ret_text);
    for (size_t i = 0; i + n <= table->n_cells; i += n)
        add_row(table, widths, (const char *const *)table->cells + i, ret_text);
    free(widths);
}

int table_terminal_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}
