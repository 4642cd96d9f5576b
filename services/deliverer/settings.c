#include "services/deliverer/settings.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

void settings_defaults(const config_t *config, settings_defaults_t *ret_defaults)
{
    *ret_defaults = (settings_defaults_t){
        .window = config_int(config, "deliverer", "window"),
        .timeout_ms = config_int(config, "deliverer", "timeout"),
        .connect_timeout_ms = config_int(config, "deliverer", "connect_timeout"),
        .response_max_bytes = config_int(config, "deliverer", "response_max"),
        .retry = config_text(config, "deliverer", "retry"),
        .breaker = {.failures_max = (int)config_int(config, "deliverer", "breaker_failures"),
                    .probe_ms = config_int(config, "deliverer", "breaker_probe")},
    };
}

/* The user part of an URL may hold a password: it is shown as stars. */
static char *without_password(const char *url)
{
    AUTO_BUF shown = {0};
    const char *authority = strstr(url, "://");
    authority = authority ? authority + 3 : url;
    size_t size = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', size);
    if (!at)
        return mem_strdup(url);
    buf_add(&shown, url, (size_t)(authority - url));
    buf_add_str(&shown, "***");
    buf_add_str(&shown, at);
    return buf_take(&shown);
}

/* Lines of text become strings; without a CR at the end and without empty ones. */
static void split_headers(const char *text, settings_t *settings)
{
    for (const char *at = text ? text : ""; *at;) {
        size_t size = strcspn(at, "\n");
        size_t used = size && at[size - 1] == '\r' ? size - 1 : size;
        if (used) {
            settings->headers = mem_realloc(settings->headers,
                                            (settings->n_headers + 2) * sizeof *settings->headers);
            settings->headers[settings->n_headers++] = mem_strndup(at, used);
            settings->headers[settings->n_headers] = NULL;
        }
        at += size + (at[size] == '\n');
    }
}

static char *copy_or_null(const char *text)
{
    return text && *text ? mem_strdup(text) : NULL;
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value < 0 ? otherwise : value;
}

static void take_lanes(const handler_t *handler, const settings_defaults_t *defaults,
                       settings_t *settings)
{
    settings->lanes =
        (lanes_handler_t){.id = handler->id,
                          .window = (int)or_default(handler->window, defaults->window),
                          .rate = or_default(handler->rate, 0),
                          .hold_ms = handler->hold_ms,
                          .breaker = defaults->breaker};
}

static void take_texts(const handler_t *handler, settings_t *settings)
{
    AUTO_BUF url = {0};
    handler_url(handler, &url);
    settings->name = mem_strdup(handler->name ? handler->name : "");
    settings->url = buf_take(&url);
    settings->shown_url = without_password(settings->url);
    split_headers(handler->headers, settings);
    settings->ca_file = copy_or_null(handler->ca_file);
    settings->cert_file = copy_or_null(handler->cert_file);
    settings->key_file = copy_or_null(handler->key_file);
}

settings_t *settings_new(const handler_t *handler, const settings_defaults_t *defaults)
{
    settings_t *settings = MEM_NEW(settings_t);
    *settings = (settings_t){
        .refs = 1,
        .handler_id = handler->id,
        .version = handler->version,
        .script = handler->type == HANDLER_SCRIPT,
        .timeout_ms = or_default(handler->timeout_ms, defaults->timeout_ms),
        .connect_timeout_ms = defaults->connect_timeout_ms,
        .response_max_bytes = defaults->response_max_bytes,
        .ordered = handler->ordering == HANDLER_ORDER_OBJECT,
        .http2 = handler->http2 != 0,
        .tls_insecure = handler->tls == HANDLER_TLS_INSECURE,
    };
    take_texts(handler, settings);
    take_lanes(handler, defaults, settings);
    const char *retry = handler->retry ? handler->retry : defaults->retry;
    result_t r =
        retry_parse(slice_of(retry), handler->max_age_ms, &settings->schedule, &settings->fault);
    if (r == RESULT_OK && handler->secrets && *handler->secrets)
        r = signature_new(handler->secrets, &settings->signature, &settings->fault);
    if (r == RESULT_OK)
        settings->fault.text[0] = 0;
    return settings;
}

settings_t *settings_ref(settings_t *settings)
{
    settings->refs++;
    return settings;
}

void settings_destroy(settings_t **settings)
{
    settings_t *gone = TAKE(*settings);
    if (!gone || --gone->refs)
        return;
    for (size_t i = 0; i < gone->n_headers; i++)
        free(gone->headers[i]);
    free(gone->headers);
    signature_destroy(&gone->signature);
    free(gone->name);
    free(gone->url);
    free(gone->shown_url);
    free(gone->ca_file);
    free(gone->cert_file);
    free(gone->key_file);
    free(gone);
}
