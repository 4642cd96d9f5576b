/* config: settings of all services, declared once in a table.
 *
 * Sources, later ones win: the table's default, the file (ZPL, one section per service), the
 * environment (PROVISOR_<SECTION>_<KEY>, an empty one counts as not set), PROVISOR_DATA, the
 * command line (--data). A key that the table does not have, or a value out of range, stops the
 * start with file, line and reason. `provisor config` prints the table as the documented default
 * file.
 *
 * In the environment a name that starts with PROVISOR_ and a known section, or one that is nearly
 * a known section, must be a known key. Left alone are PROVISOR_CONFIG, PROVISOR_DATA and whatever
 * else names no section, and what Kubernetes puts there for a service called provisor-emitter
 * (PROVISOR_EMITTER_PORT..., PROVISOR_EMITTER_SERVICE_...). */
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
    const char *value;   /* default, as it would stand in the file */
    int64_t min, max;    /* of a number (ms, bytes); both 0: any that is not negative */
    const char *help;    /* one sentence */
    bool reload;         /* taken over by SIGHUP */
    const char *choices; /* "a|b|c": the only texts allowed; NULL: any */
} config_key_t;

/* Every key there is. */
extern const config_key_t config_keys[];
extern const size_t config_n_keys;

typedef struct config_t config_t;

/* path NULL: no file. data NULL: from file or environment, else ./provisor-data. Relative folders
 * start where the process was started. RESULT_INVALID; RESULT_NOT_FOUND: no such file. */
result_t config_load(const char *path, const char *data, config_t **ret_config,
                     fault_t *fault) MUST_CHECK;
void config_destroy(config_t **config);
/* Reads file and environment again and takes over what is marked reload. Adds the names of keys
 * ("deliverer.window ") to ret_changed, and of those that need a restart to ret_ignored. Nothing
 * changes on failure. Texts handed out before stay valid. */
result_t config_reload(config_t *config, buf_t *ret_changed, buf_t *ret_ignored,
                       fault_t *fault) MUST_CHECK;
/* Both panic when the table has no such key or the type is another one. */
int64_t config_int(const config_t *config, const char *section, const char *key);
const char *config_text(const config_t *config, const char *section, const char *key);
/* Where a value came from, for messages: "provisor.conf:12: emitter.intake",
 * "PROVISOR_EMITTER_INTAKE" or "emitter.intake" (the default). */
const char *config_source(const config_t *config, const char *section, const char *key);
/* "PROVISOR_EMITTER_INTAKE" */
void config_env_name(const char *section, const char *key, buf_t *ret_name);
/* The data folder, absolute. */
const char *config_data(const config_t *config);
/* The folder of handlers.db, absolute. */
const char *config_handlers_dir(const config_t *config);
/* The largest frame of events that an emitter sends. */
int64_t config_events_max(const config_t *config);
/* The file that it was read from, NULL if none. */
const char *config_path(const config_t *config);
/* The documented default file. */
void config_print_defaults(buf_t *ret_text);

#endif
