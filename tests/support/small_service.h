/* small_service: a service that does little and tells what was done to it, for tests of what all
 * services do alike. The environment makes it difficult: SMALL_FAILS=<result>, SMALL_BUSY,
 * SMALL_NOT_READY, SMALL_CHECK_FAILS. */
#ifndef PROVISOR_SMALL_SERVICE_H
#define PROVISOR_SMALL_SERVICE_H

#include "tests/support/unit.h"

#include "common/base/crash.h"
#include "common/service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    service_t *service;
    int drains, reloads;
    bool finished;
} small_t;

static inline result_t create(service_t *service, void **ret_self, fault_t *fault)
{
    const char *failure = getenv("SMALL_FAILS");
    if (failure)
        return fault_set(fault, (result_t)atoi(failure), "cannot \"open\" it");
    small_t *small = calloc(1, sizeof *small);
    small->service = service;
    small->finished = !getenv("SMALL_BUSY");
    service_set_node(service, "0123456789abcdef");
    *ret_self = small;
    return RESULT_OK;
}

static inline void destroy(void **self)
{
    small_t *small = *self;
    log_line(service_log(small->service), LEVEL_INFO, "event=destroyed");
    free(small);
    *self = NULL;
}

static inline void drain(void *self)
{
    ((small_t *)self)->drains++;
}

static inline bool drained(void *self)
{
    return ((small_t *)self)->finished;
}

static inline void reload(void *self)
{
    ((small_t *)self)->reloads++;
}

static inline void stats(void *self, json_writer_t *w)
{
    const small_t *small = self;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    json_key_int(w, "drains", small->drains);
    json_key_int(w, "reloads", small->reloads);
    json_key_int(w, "window", config_int(service_config(small->service), "deliverer", "window"));
    json_key_str(w, "script_dir",
                 config_text(service_config(small->service), "deliverer", "script_dir"));
    json_key_int(w, "level", service_log(small->service)->level);
    json_key_bool(w, "descriptors_raised", limit.rlim_cur == limit.rlim_max);
}

static inline bool ready(void *self, char *ret_why, size_t size)
{
    (void)self;
    snprintf(ret_why, size, "no deliverer seen");
    return !getenv("SMALL_NOT_READY");
}

static inline result_t answer_finish(void *self, const json_tree_t *question, json_writer_t *w,
                                     fault_t *fault)
{
    (void)question;
    (void)fault;
    small_t *small = self;
    small->finished = true;
    json_key_int(w, "drains", small->drains);
    return RESULT_OK;
}

static inline result_t answer_fail(void *self, const json_tree_t *question, json_writer_t *w,
                                   fault_t *fault)
{
    (void)question;
    (void)w;
    (void)fault;
    service_fail(((small_t *)self)->service, "disk %d is gone", 7);
    return RESULT_OK;
}

static inline result_t answer_refuse(void *self, const json_tree_t *question, json_writer_t *w,
                                     fault_t *fault)
{
    (void)self;
    json_key_str(w, "half", "written");
    return json_get_bool(question, "why", true)
               ? fault_set(fault, RESULT_INVALID, "delivery_id is missing")
               : RESULT_NOT_FOUND;
}

static inline result_t answer_crash(void *self, const json_tree_t *question, json_writer_t *w,
                                    fault_t *fault)
{
    (void)self;
    (void)question;
    (void)w;
    (void)fault;
    CRASH_POINT("small.point");
    return RESULT_OK;
}

/* Writes into a pipe that nobody reads, and makes a file. */
static inline result_t answer_system(void *self, const json_tree_t *question, json_writer_t *w,
                                     fault_t *fault)
{
    (void)self;
    (void)fault;
    int ends[2];
    struct stat st;
    const char *path = json_get_str(question, "path");
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    json_key_bool(w, "epipe", write(ends[1], "x", 1) == -1 && errno == EPIPE);
    close(ends[1]);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
    stat(path, &st);
    json_key_int(w, "mode", st.st_mode & 0777);
    return RESULT_OK;
}

static inline result_t check(const config_t *config, fault_t *fault)
{
    if (!getenv("SMALL_CHECK_FAILS"))
        return RESULT_OK;
    return fault_set(fault, RESULT_INVALID, "%s: not a retry list",
                     config_source(config, "deliverer", "retry"));
}

static const service_op_t small_ops[] = {
    {"finish", answer_finish}, {"fail", answer_fail},     {"refuse", answer_refuse},
    {"crash", answer_crash},   {"system", answer_system}, {NULL, NULL},
};

static const service_spec_t small_spec = {
    .name = "router",
    .help = "A small service for tests.",
    .create = create,
    .destroy = destroy,
    .drain = drain,
    .drained = drained,
    .reload = reload,
    .stats = stats,
    .ready = ready,
    .ops = small_ops,
    .check = check,
};

#endif
