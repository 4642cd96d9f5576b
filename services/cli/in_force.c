#include "services/cli/in_force.h"

#include <czmq.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/service/endpoint.h"

enum { PATIENCE_MS = 2000, ANSWER_MS = 250, PAUSE_MS = 20 };

/* True when the stage has read it, or does not answer. */
static bool has_read(const char *endpoint, int64_t table_version)
{
    AUTO_BUF answer = {0};
    AUTO(json_tree) tree = NULL;
    if (cli_ask_control(endpoint, SLICE("{\"op\":\"stats\"}"), ANSWER_MS, &answer) != RESULT_OK ||
        json_parse(buf_slice(&answer), &tree, NULL) != RESULT_OK)
        return true;
    return json_get_int(json_get(tree, "stats"), "table_version", table_version) >= table_version;
}

static void wait_for_all(const cli_t *cli, const char *key, const char *section,
                         int64_t table_version, int64_t deadline_ms)
{
    AUTO_BUF list = {0}, one = {0};
    cli_controls(cli, key, section, &list);
    for (const char *at = list.data; endpoint_next(&at, &one);) {
        while (!has_read(one.data, table_version) && clk_mono_ms() < deadline_ms)
            zclock_sleep(PAUSE_MS);
    }
}

void in_force_wait(const cli_t *cli, int64_t table_version)
{
    int64_t deadline_ms = clk_mono_ms() + PATIENCE_MS;
    wait_for_all(cli, "routers", "router", table_version, deadline_ms);
    wait_for_all(cli, "deliverers", "deliverer", table_version, deadline_ms);
}
