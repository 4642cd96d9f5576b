/* service: what all four processes do alike: flags, configuration, signals, drain, control socket.
 *
 *     int main (int argc, char **argv) { return service_main (argc, argv, &emitter_spec); }
 *
 * Flags: --config FILE --data DIR --check --version --help. SIGTERM, SIGINT and the control
 * question drain: drain () is called once, then drained () is asked each 20 ms until true or
 * provisor.stop_deadline, then destroy (), exit 0; a second signal ends it at once when it comes at
 * least 300 ms after the first (a dying supervisor sends several). SIGHUP reloads.
 * Exit codes: 0 stopped in order; 64 usage; 78 configuration; 75 store or port in use, disk full or
 * read-only; 70 stopped by a failure while running (service_fail), without destroy (): recovery
 * from disk is the tested path.
 *
 * Signals are read from a descriptor on the loop: SIGTERM, SIGINT and SIGHUP are blocked in every
 * thread and SIGPIPE is ignored, so who starts a child process resets them in it. */
#ifndef PROVISOR_SERVICE_H
#define PROVISOR_SERVICE_H

#include <czmq.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/service/backup.h"
#include "common/service/config.h"

typedef struct service_t service_t;

/* One operation of the control socket: reads the question, writes members into the answer's
 * object (which already has "ok":true), or returns a result other than OK and a fault. */
typedef struct {
    const char *op;
    result_t (*answer)(void *self, const json_tree_t *question, json_writer_t *w, fault_t *fault);
} service_op_t;

typedef struct {
    const char *name; /* "emitter"; also the configuration's section */
    const char *help; /* printed by --help above the flags */
    /* Opens stores and sockets, registers with the loop. The fault says what is wrong and what to
     * do. */
    result_t (*create)(service_t *service, void **ret_self, fault_t *fault);
    void (*destroy)(void **self);
    /* Stops taking in. May be NULL. */
    void (*drain)(void *self);
    /* Is everything handed on? NULL: at once. */
    bool (*drained)(void *self);
    /* SIGHUP: the new configuration is in place (only keys marked reload differ). May be NULL. */
    void (*reload)(void *self);
    /* Members of the "stats" object. May be NULL. */
    void (*stats)(void *self, json_writer_t *w);
    /* True when it can do its work now; otherwise ret_why (at least 128 bytes) says what is
     * missing. NULL: always. */
    bool (*ready)(void *self, char *ret_why, size_t size);
    const service_op_t *ops;     /* beyond ping, stats, drain, backup; ends with {NULL} */
    const backup_part_t *backup; /* the stores it owns; NULL: none. Ends with {NULL} */
    /* Settings that only this service understands, for --check and before create (). May be NULL.
     * config_source () says where a value stands. */
    result_t (*check)(const config_t *config, fault_t *fault);
} service_spec_t;

int service_main(int argc, char **argv, const service_spec_t *spec);

/* For services */
zloop_t *service_loop(service_t *service);
const config_t *service_config(const service_t *service);
const log_t *service_log(const service_t *service);
/* Chosen at random at each start, positive. */
int64_t service_boot(const service_t *service);
/* The node id that ping answers with; audit_new () sets it. */
void service_set_node(service_t *service, const char *node);
const char *service_name(const service_t *service);
/* The stats object, as the control socket answers it. */
void service_stats(service_t *service, json_writer_t *w);
/* Cannot go on (failed fsync, store corrupt): logs at error and ends the loop; exit code 70. */
void service_fail(service_t *service, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
