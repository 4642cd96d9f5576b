#include "common/service/config_file.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <czmq.h>
#include <errno.h>
#include <stdio.h>

enum {
    FILE_BYTES_MAX = 1 << 20,
    LINE_BYTES_MAX = 1000, /* zconfig's own line buffer holds 1024 */
    INDENT = 4,
};

/* What the scan of one file has found so far. */
typedef struct {
    const char *path;
    int line;            /* the current one, from 1 */
    bool in_section;     /* a section has been opened */
    config_file_t *file; /* rows with lines only; names and values come from zconfig */
    fault_t *fault;
} scan_t;

static result_t bad_line(const scan_t *scan, const char *what)
{
    return fault_set(scan->fault, RESULT_INVALID, "%s:%d: %s", scan->path, scan->line, what);
}

static void add_row(config_file_t *file, int line)
{
    file->rows = mem_realloc(file->rows, (file->n_rows + 1) * sizeof *file->rows);
    file->rows[file->n_rows++] = (config_row_t){.line = line};
}

/* Nothing but white space and a comment? */
static bool is_rest_empty(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return *at == 0 || *at == '#';
}

static result_t check_value(const scan_t *scan, const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    if (*at == '#')
        return bad_line(scan, "a value that starts with # needs quotes");
    if (*at != '"' && *at != '\'')
        return RESULT_OK;
    const char *end = strchr(at + 1, *at);
    if (!end)
        return bad_line(scan, "the closing quote is missing");
    return is_rest_empty(end + 1) ? RESULT_OK : bad_line(scan, "text after the closing quote");
}

/* line is terminated and has no white space at its end. */
static result_t check_line(scan_t *scan, const char *line)
{
    size_t spaces = strspn(line, " ");
    const char *at = line + spaces;
    if (*at == '\t')
        return bad_line(scan, "indent with spaces, not tabs");
    if (*at && spaces % INDENT != 0)
        return bad_line(scan, "indent with 4 spaces");
    if (*at == 0 || *at == '#')
        return RESULT_OK;
    size_t name = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    const char *rest = at + name;
    while (isspace((unsigned char)*rest))
        rest++;
    if (name == 0 || (*rest != '=' && !is_rest_empty(rest)))
        return bad_line(scan, "expected a section, or 4 spaces and \"key = value\"");
    if (spaces == 0 && *rest == '=')
        return bad_line(scan, "a key outside of a section; indent it with 4 spaces");
    if (spaces > 0 && (!scan->in_section || spaces > INDENT))
        return bad_line(scan, scan->in_section ? "sections are one level deep"
                                               : "a key outside of a section");
    if (spaces > 0 && *rest != '=')
        return bad_line(scan, "expected \"key = value\"");
    scan->in_section = true;
    add_row(scan->file, scan->line);
    return spaces == 0 ? RESULT_OK : check_value(scan, rest + 1);
}

static result_t check_lines(scan_t *scan, slice_t text)
{
    char line[LINE_BYTES_MAX + 1];
    result_t r = RESULT_OK;
    for (size_t at = 0; at < text.size && r == RESULT_OK;) {
        const char *end = memchr(text.data + at, '\n', text.size - at);
        size_t size = end ? (size_t)(end - (text.data + at)) : text.size - at;
        scan->line++;
        if (size > LINE_BYTES_MAX)
            return bad_line(scan, "the line is longer than 1000 characters");
        memcpy(line, text.data + at, size);
        at += size + 1;
        while (size > 0 && isspace((unsigned char)line[size - 1]))
            size--;
        line[size] = 0;
        if (strlen(line) != size)
            return bad_line(scan, "a zero byte");
        r = check_line(scan, line);
    }
    return r;
}

static result_t fill_row(config_file_t *file, size_t row, const char *section, zconfig_t *item,
                         bool is_key)
{
    if (row >= file->n_rows)
        return RESULT_INVALID;
    file->rows[row].section = mem_strdup(section);
    file->rows[row].key = is_key ? mem_strdup(zconfig_name(item)) : NULL;
    file->rows[row].value = mem_strdup(zconfig_value(item) ? zconfig_value(item) : "");
    return RESULT_OK;
}

/* zconfig's tree in the file's order is the row of lines that the scan counted. */
static result_t fill_rows(config_file_t *file, zconfig_t *root)
{
    size_t row = 0;
    result_t r = RESULT_OK;
    for (zconfig_t *section = zconfig_child(root); section; section = zconfig_next(section)) {
        r = fill_row(file, row++, zconfig_name(section), section, false);
        for (zconfig_t *item = zconfig_child(section); item && r == RESULT_OK;
             item = zconfig_next(item))
            r = fill_row(file, row++, zconfig_name(section), item, true);
        if (r != RESULT_OK)
            return r;
    }
    return row == file->n_rows ? RESULT_OK : RESULT_INVALID;
}

static result_t read_all(const char *path, buf_t *text, fault_t *fault)
{
    FILE *stream = fopen(path, "re");
    if (!stream)
        return fault_set(fault, RESULT_NOT_FOUND, "cannot read the configuration file %s: %s", path,
                         strerror(errno));
    text->size = fread(buf_reserve(text, FILE_BYTES_MAX + 1), 1, FILE_BYTES_MAX + 1, stream);
    bool failed = ferror(stream);
    fclose(stream);
    if (failed)
        return fault_set(fault, RESULT_INVALID, "cannot read the configuration file %s", path);
    if (text->size > FILE_BYTES_MAX)
        return fault_set(fault, RESULT_INVALID, "%s is longer than 1 MiB", path);
    return RESULT_OK;
}

result_t config_file_read(const char *path, config_file_t **ret_file, fault_t *fault)
{
    AUTO_BUF text = {0};
    result_t r = read_all(path, &text, fault);
    if (r != RESULT_OK)
        return r;
    AUTO(config_file) file = MEM_NEW(config_file_t);
    scan_t scan = {.path = path, .file = file, .fault = fault};
    r = check_lines(&scan, buf_slice(&text));
    if (r != RESULT_OK)
        return r;
    AUTO(zchunk) chunk = zchunk_new(text.data, text.size);
    AUTO(zconfig) root = zconfig_chunk_load(chunk);
    if (!root || fill_rows(file, root) != RESULT_OK)
        return fault_set(fault, RESULT_INVALID, "%s is not a ZPL file", path);
    *ret_file = TAKE(file);
    return RESULT_OK;
}

void config_file_destroy(config_file_t **file)
{
    if (!*file)
        return;
    for (size_t i = 0; i < (*file)->n_rows; i++) {
        free((*file)->rows[i].section);
        free((*file)->rows[i].key);
        free((*file)->rows[i].value);
    }
    free((*file)->rows);
    free(*file);
    *file = NULL;
}
