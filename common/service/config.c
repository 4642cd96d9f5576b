#include "common/service/config.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/service/config_file.h"
#include "common/service/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

extern char **environ;

typedef struct {
    int64_t number;
    char *text;
    char *source; /* "provisor.conf:12: emitter.intake" */
    int line;     /* in the file, 0: not from there */
} value_t;

/* A text that a reload has replaced; somebody may still hold it. */
typedef struct retired_t {
    struct retired_t *next;
    char *text;
} retired_t;

enum { EVENT_EXTRA_BYTES = 65536 }; /* of a message about an event, beyond the event as it came */

struct config_t {
    value_t *values; /* one for each of config_keys, in the same order */
    char *path;      /* NULL: no file */
    char *flag_data; /* --data; NULL: not given */
    char *data;      /* absolute */
    char *handlers;  /* absolute */
    retired_t *retired;
};

static size_t find_key(const char *section, const char *key)
{
    size_t i = 0;
    while (i < config_n_keys &&
           (strcmp(config_keys[i].section, section) != 0 || strcmp(config_keys[i].key, key) != 0))
        i++;
    return i;
}

static bool is_section(const char *section)
{
    for (size_t i = 0; i < config_n_keys; i++)
        if (strcmp(config_keys[i].section, section) == 0)
            return true;
    return false;
}

/* source is a name for messages and for config_source(). */
static result_t set_value(config_t *config, size_t key, const char *text, const char *source,
                          fault_t *fault)
{
    int64_t number = 0;
    fault_t why = {""};
    result_t r = config_value_parse(&config_keys[key], text, &number, &why);
    if (r != RESULT_OK)
        return fault_set(fault, r, "%s: %s", source, why.text);
    value_t *value = &config->values[key];
    char *copy = mem_strdup(text), *source_copy = mem_strdup(source);
    free(value->text);
    free(value->source);
    *value = (value_t){.number = number, .text = copy, .source = source_copy, .line = value->line};
    return RESULT_OK;
}

static void set_defaults(config_t *config)
{
    fault_t fault = {""};
    for (size_t i = 0; i < config_n_keys; i++) {
        AUTO_BUF source = {0};
        buf_printf(&source, "%s.%s", config_keys[i].section, config_keys[i].key);
        if (set_value(config, i, config_keys[i].value, source.data, &fault) != RESULT_OK)
            PANIC("the table's own default: %s", fault.text);
    }
}

static result_t set_row(config_t *config, const config_row_t *row, fault_t *fault)
{
    const config_key_t *nearest = config_value_nearest(row->section, row->key ? row->key : "");
    if (!is_section(row->section))
        return fault_set(fault, RESULT_INVALID,
                         "%s:%d: there is no section \"%s\"; did you mean \"%s\"?", config->path,
                         row->line, row->section, nearest->section);
    if (!row->key)
        return RESULT_OK;
    size_t key = find_key(row->section, row->key);
    if (key == config_n_keys)
        return fault_set(fault, RESULT_INVALID,
                         "%s:%d: there is no setting %s.%s; did you mean %s.%s?", config->path,
                         row->line, row->section, row->key, nearest->section, nearest->key);
    if (config->values[key].line)
        return fault_set(fault, RESULT_INVALID, "%s:%d: %s.%s stands in line %d already",
                         config->path, row->line, row->section, row->key, config->values[key].line);
    AUTO_BUF source = {0};
    buf_printf(&source, "%s:%d: %s.%s", config->path, row->line, row->section, row->key);
    config->values[key].line = row->line;
    return set_value(config, key, row->value, source.data, fault);
}

static result_t read_file(config_t *config, fault_t *fault)
{
    AUTO(config_file) file = NULL;
    result_t r = config_file_read(config->path, &file, fault);
    for (size_t i = 0; r == RESULT_OK && i < file->n_rows; i++)
        r = set_row(config, &file->rows[i], fault);
    return r;
}

void config_env_name(const char *section, const char *key, buf_t *ret_name)
{
    size_t first = ret_name->size;
    buf_printf(ret_name, "PROVISOR_%s_%s", section, key);
    for (size_t i = first; i < ret_name->size; i++)
        ret_name->data[i] = (char)toupper((unsigned char)ret_name->data[i]);
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void add_lower(const char *text, buf_t *ret_text)
{
    for (; *text; text++)
        buf_add_char(ret_text, (char)tolower((unsigned char)*text));
}

/* rest = "EMITTER_INTAKE"; gives "emitter" and "intake", or false when it names no section. */
static bool split_env(const char *rest, const char **ret_section, buf_t *ret_key)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const char *section = config_keys[i].section;
        size_t size = strlen(section);
        if (strncasecmp(rest, section, size) != 0 || rest[size] != '_')
            continue;
        add_lower(rest + size + 1, ret_key);
        *ret_section = section;
        return ret_key->size > 0;
    }
    return false;
}

/* Kubernetes: links to a service of this name. */
static bool is_link(const char *key)
{
    return starts_with(key, "port") || starts_with(key, "service_");
}

static result_t no_such_name(const char *name, const char *section, const char *key,
                             const char *missing, fault_t *fault)
{
    AUTO_BUF right = {0};
    const config_key_t *nearest = config_value_nearest(section, key);
    config_env_name(nearest->section, nearest->key, &right);
    return fault_set(fault, RESULT_INVALID,
                     "%s in the environment: there is no %s; did you mean %s?", name, missing,
                     right.data);
}

/* PROVISOR_EMITER_INTAKE would be ignored, as if it had no section. */
static result_t check_section(const char *name, char *word, fault_t *fault)
{
    char *key = strchr(word, '_');
    if (!key || !key[1] || is_link(key + 1))
        return RESULT_OK;
    *key++ = 0;
    const char *section = config_value_near_section(word);
    if (!section)
        return RESULT_OK;
    AUTO_BUF missing = {0};
    buf_printf(&missing, "section %s", word);
    return no_such_name(name, section, key, missing.data, fault);
}

/* PROVISOR_HANDLERS is no setting: the section provisor stands in the name like every other. Other
 * names without a section (PROVISOR_DATA, PROVISOR_CONFIG) are not read here. */
static result_t check_foreign(const char *name, fault_t *fault)
{
    AUTO_BUF key = {0}, right = {0};
    add_lower(name + strlen("PROVISOR_"), &key);
    if (key.size == 0 || strcmp(key.data, "data") == 0)
        return RESULT_OK;
    if (find_key("provisor", key.data) == config_n_keys)
        return check_section(name, key.data, fault);
    config_env_name("provisor", key.data, &right);
    return fault_set(fault, RESULT_INVALID, "%s in the environment: did you mean %s?", name,
                     right.data);
}

/* variable = "PROVISOR_EMITTER_INTAKE=tcp://..." */
static result_t set_from_env(config_t *config, const char *variable, fault_t *fault)
{
    const char *equals = strchr(variable, '=');
    if (!starts_with(variable, "PROVISOR_") || !equals || !equals[1])
        return RESULT_OK;
    AUTO_BUF name = {0}, key_name = {0}, missing = {0};
    const char *section;
    buf_add(&name, variable, (size_t)(equals - variable));
    if (!split_env(name.data + strlen("PROVISOR_"), &section, &key_name))
        return check_foreign(name.data, fault);
    size_t key = find_key(section, key_name.data);
    if (key < config_n_keys)
        return set_value(config, key, equals + 1, name.data, fault);
    if (is_link(key_name.data))
        return RESULT_OK;
    buf_printf(&missing, "setting %s.%s", section, key_name.data);
    return no_such_name(name.data, section, key_name.data, missing.data, fault);
}

static result_t read_env(config_t *config, fault_t *fault)
{
    result_t r = RESULT_OK;
    for (char **variable = environ; variable && *variable && r == RESULT_OK; variable++)
        r = set_from_env(config, *variable, fault);
    const char *data = getenv("PROVISOR_DATA");
    if (r == RESULT_OK && data && *data)
        r = set_value(config, find_key("provisor", "data"), data, "PROVISOR_DATA", fault);
    if (r == RESULT_OK && config->flag_data)
        r = set_value(config, find_key("provisor", "data"), config->flag_data, "--data", fault);
    return r;
}

static result_t absolute(const char *path, const char *source, char **ret_path, fault_t *fault)
{
    AUTO_BUF text = {0};
    if (!*path)
        return fault_set(fault, RESULT_INVALID, "%s: the folder's name is empty", source);
    if (*path != '/') {
        AUTO_FREE char *here = getcwd(NULL, 0);
        if (!here)
            return fault_set(fault, RESULT_INVALID, "cannot tell the current folder: %s",
                             strerror(errno));
        path += starts_with(path, "./") ? 2 : 0;
        buf_printf(&text, "%s/", strcmp(here, "/") == 0 ? "" : here);
    }
    buf_add_str(&text, path);
    while (text.size > 1 && text.data[text.size - 1] == '/')
        text.data[--text.size] = 0;
    *ret_path = buf_take(&text);
    return RESULT_OK;
}

static result_t set_folders(config_t *config, fault_t *fault)
{
    result_t r = absolute(config_text(config, "provisor", "data"),
                          config_source(config, "provisor", "data"), &config->data, fault);
    if (r != RESULT_OK)
        return r;
    const char *handlers = config_text(config, "provisor", "handlers");
    return absolute(*handlers ? handlers : config->data,
                    config_source(config, "provisor", "handlers"), &config->handlers, fault);
}

result_t config_load(const char *path, const char *data, config_t **ret_config, fault_t *fault)
{
    AUTO(config) config = MEM_NEW(config_t);
    config->values = mem_alloc(config_n_keys * sizeof *config->values);
    config->path = path ? mem_strdup(path) : NULL;
    config->flag_data = data ? mem_strdup(data) : NULL;
    set_defaults(config);
    result_t r = path ? read_file(config, fault) : RESULT_OK;
    if (r == RESULT_OK)
        r = read_env(config, fault);
    if (r == RESULT_OK)
        r = set_folders(config, fault);
    if (r == RESULT_OK)
        *ret_config = TAKE(config);
    return r;
}

void config_destroy(config_t **config_p)
{
    config_t *config = *config_p;
    if (!config)
        return;
    for (size_t i = 0; i < config_n_keys; i++) {
        free(config->values[i].text);
        free(config->values[i].source);
    }
    while (config->retired) {
        retired_t *retired = config->retired;
        config->retired = retired->next;
        free(retired->text);
        free(retired);
    }
    free(config->values);
    free(config->path);
    free(config->flag_data);
    free(config->data);
    free(config->handlers);
    free(config);
    *config_p = NULL;
}

static void retire(config_t *config, char *text)
{
    retired_t *retired = MEM_NEW(retired_t);
    *retired = (retired_t){.next = config->retired, .text = text};
    config->retired = retired;
}

result_t config_reload(config_t *config, buf_t *ret_changed, buf_t *ret_ignored, fault_t *fault)
{
    AUTO(config) fresh = NULL;
    result_t r = config_load(config->path, config->flag_data, &fresh, fault);
    if (r != RESULT_OK)
        return r;
    for (size_t i = 0; i < config_n_keys; i++) {
        value_t *old = &config->values[i], *new = &fresh->values[i];
        if (strcmp(old->text, new->text) == 0)
            continue;
        buf_printf(config_keys[i].reload ? ret_changed : ret_ignored, "%s.%s ",
                   config_keys[i].section, config_keys[i].key);
        if (!config_keys[i].reload)
            continue;
        retire(config, old->text);
        retire(config, old->source);
        *old = (value_t){new->number, TAKE(new->text), TAKE(new->source), new->line};
    }
    return RESULT_OK;
}

static const value_t *known(const config_t *config, const char *section, const char *key)
{
    size_t i = find_key(section, key);
    if (i == config_n_keys)
        PANIC("no setting %s.%s", section, key);
    return &config->values[i];
}

int64_t config_int(const config_t *config, const char *section, const char *key)
{
    const value_t *value = known(config, section, key);
    ENSURE(config_keys[value - config->values].type < CONFIG_TEXT);
    return value->number;
}

const char *config_text(const config_t *config, const char *section, const char *key)
{
    const value_t *value = known(config, section, key);
    ENSURE(config_keys[value - config->values].type >= CONFIG_TEXT);
    return value->text;
}

const char *config_source(const config_t *config, const char *section, const char *key)
{
    return known(config, section, key)->source;
}

const char *config_data(const config_t *config)
{
    return config->data;
}

const char *config_handlers_dir(const config_t *config)
{
    return config->handlers;
}

int64_t config_events_max(const config_t *config)
{
    int64_t batch = config_int(config, "emitter", "batch_bytes");
    int64_t event = config_int(config, "emitter", "event_max");
    return (batch > event ? batch : event) + EVENT_EXTRA_BYTES; /* one event fits always */
}

const char *config_path(const config_t *config)
{
    return config->path;
}

void config_print_defaults(buf_t *ret_text)
{
    const char *section = "";
    buf_add_str(ret_text, "# Provisor's settings and their defaults. Each can also be set in the "
                          "environment:\n# PROVISOR_<SECTION>_<KEY>, which wins. Those marked "
                          "(reload) are taken over by SIGHUP.\n");
    for (size_t i = 0; i < config_n_keys; i++) {
        const config_key_t *key = &config_keys[i];
        AUTO_BUF range = {0};
        if (strcmp(section, key->section) != 0)
            buf_printf(ret_text, "\n%s\n", section = key->section);
        config_value_range(key, &range);
        buf_printf(ret_text, "    # %s", key->help);
        if (key->choices || range.size)
            buf_printf(ret_text, " [%s]", key->choices ? key->choices : range.data);
        buf_printf(ret_text, "%s\n", key->reload ? " (reload)" : "");
        bool plain = *key->value && !strpbrk(key->value, " #\"'");
        buf_printf(ret_text, plain ? "    %s = %s\n" : "    %s = \"%s\"\n", key->key, key->value);
    }
}
