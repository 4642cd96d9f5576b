/* config: settings of all services, declared once in a table.
 *
 * Sources, later ones win: the table's default, the file (ZPL, one section per service), the
 * environment (PROVISOR_<SECTION>_<KEY>), the command line (--data). A key that the table does not
 * have, or a value out of range, stops the start with file, line and reason. `provisor config`
 * prints the table as the documented default file. */
#ifndef PROVISOR_CONFIG_H
#define PROVISOR_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

typedef enum {
    CONFIG_INT,
    CONFIG_BOOL,     /* 0 or 1 */
    CONFIG_DURATION, /* "15s"; kept in ms */
    CONFIG_SIZE,     /* "8MiB", "64KiB", "1GiB" or bytes */
    CONFIG_TEXT,
    CONFIG_BIND,    /* one endpoint to bind: tcp://127.0.0.1:5550, ipc://... */
    CONFIG_CONNECT, /* endpoints to connect, space separated */
} config_type_t;

typedef struct {
    const char *section; /* "emitter" */
    const char *key;     /* "intake" */
    config_type_t type;
    const char *value; /* default, as it would stand in the file */
    int64_t min, max;  /* of a number (ms, bytes); both 0: any that is not negative */
    const char *help;  /* one sentence */
    bool reload;       /* taken over by SIGHUP */
} config_key_t;

/* Every key there is. */
extern const config_key_t config_keys[];
extern const size_t config_n_keys;

typedef struct config_t config_t;

/* path NULL: no file. data NULL: from file or environment, else ./provisor-data. */
result_t config_load(const char *path, const char *data, config_t **ret_config,
                     fault_t *fault) MUST_CHECK;
void config_destroy(config_t **config);
/* Both panic when the table has no such key or the type is another one. */
int64_t config_int(const config_t *config, const char *section, const char *key);
const char *config_text(const config_t *config, const char *section, const char *key);
/* The data folder, absolute. */
const char *config_data(const config_t *config);
/* The folder of handlers.db, absolute. */
const char *config_handlers_dir(const config_t *config);
/* The file that it was read from, NULL if none. */
const char *config_path(const config_t *config);
/* The documented default file. */
void config_print_defaults(buf_t *ret_text);

#endif
