/* config_file: a ZPL file (czmq's zconfig) as rows that know their line.
 *
 * zconfig has no line numbers, prints its complaints, and reads past its buffer on very long lines;
 * so each line is checked here first, and zconfig gets only what it can read. */
#ifndef PROVISOR_CONFIG_FILE_H
#define PROVISOR_CONFIG_FILE_H

#include "common/base/buf.h"

typedef struct {
    int line; /* from 1 */
    char *section;
    char *key; /* NULL: the line that opens the section */
    char *value;
} config_row_t;

typedef struct {
    config_row_t *rows; /* in the file's order */
    size_t n_rows;
} config_file_t;

/* RESULT_NOT_FOUND: cannot be opened; RESULT_INVALID: not ZPL of one section level; the fault names
 * file and line. */
result_t config_file_read(const char *path, config_file_t **ret_file, fault_t *fault) MUST_CHECK;
void config_file_destroy(config_file_t **file);

#endif
