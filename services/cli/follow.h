/* follow: attempts as they happen, each once, with none left out.
 *
 * The stream may lose messages (the auditor restarts, or this reader is too slow). prev_id and the
 * heartbeat's last ids show the gap, topic by topic, and history fills it before anything later of
 * that topic is shown. */
#ifndef PROVISOR_FOLLOW_H
#define PROVISOR_FOLLOW_H

#include <czmq.h>

#include "services/cli/cli.h"

typedef void follow_show_fn(const cli_t *cli, const json_tree_t *record);

/* A stream's socket, subscribed to what follow_run needs; NULL when it cannot connect. */
zsock_t *follow_subscribe(const cli_t *cli);
/* The newest attempt in history, 0: there is none. An exit code. */
int follow_newest(const cli_t *cli, int64_t *ret_audit_id) MUST_CHECK;
/* Shows every attempt behind seen_id, in the order of audit_id within each topic. While the auditor
 * is away it waits. Returns when interrupted, or when history refuses. */
int follow_run(const cli_t *cli, zsock_t *stream, int64_t seen_id, follow_show_fn *show);

#endif
