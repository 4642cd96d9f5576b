/* provisor cancel | retry: acts on deliveries that are pending in the deliverer. */
#include "services/cli/cmd.h"

#include "common/base/cleanup.h"
#include "common/service/endpoint.h"

static int build_question(const cli_t *cli, const char *op, buf_t *ret_question)
{
    int64_t handler_id;
    const char *delivery = cli_flag(cli, "delivery"), *object = cli_flag(cli, "object");
    int code = cli_flag_int(cli, "handler", 0, &handler_id);
    if (code != EXIT_OK)
        return code;
    if (!delivery == !handler_id)
        return cli_fail(cli, EXIT_USAGE, "say either --delivery ID or --handler H [--object O]");
    json_writer_t w;
    json_begin(&w, ret_question);
    json_open_object(&w);
    json_key_str(&w, "op", op);
    if (delivery)
        json_key_str(&w, "delivery_id", delivery);
    else
        json_key_int(&w, "handler_id", handler_id);
    if (object)
        json_key_str(&w, "object_id", object);
    json_close_object(&w);
    return EXIT_OK;
}

/* Asks every deliverer of the list; a delivery is pending in one of them. */
static int act(cli_t *cli, const char *op, const char *said)
{
    AUTO_BUF question = {0};
    int64_t count = 0;
    int code = build_question(cli, op, &question);
    if (code != EXIT_OK)
        return code;
    AUTO_BUF list = {0}, one = {0};
    cli_controls(cli, "deliverers", "deliverer", &list);
    for (const char *at = list.data; endpoint_next(&at, &one);) {
        AUTO(json_tree) answer = NULL;
        code = cli_ask(cli, "deliverer", one.data, &question, 60000, &answer);
        if (code != EXIT_OK)
            return code;
        count += json_get_int(answer, "count", 0);
    }
    if (cli_json(cli))
        printf("{\"count\":%lld}\n", (long long)count);
    else
        printf("%lld %s %s\n", (long long)count, count == 1 ? "delivery" : "deliveries", said);
    return count ? EXIT_OK : EXIT_FAILED;
}

static int cancel_run(cli_t *cli)
{
    return act(cli, "cancel", "cancelled");
}

static int retry_run(cli_t *cli)
{
    return act(cli, "retry", "due now");
}

static const cli_flag_t flags[] = {
    {"delivery", "ID", "one delivery: <event id>-<handler id>"},
    {"handler", "ID", "everything that is pending for the handler"},
    {"object", "ID", "with --handler: of this object only"},
    {NULL},
};

const cli_command_t cmd_cancel[] = {
    {"retry", "", "Makes pending deliveries due now, without waiting for their schedule",
     "  provisor retry --handler 3\n", flags, 0, 0, retry_run},
    {"cancel", "", "Ends pending deliveries; history keeps them as cancelled",
     "  provisor cancel --handler 3 --object 12\n", flags, 0, 0, cancel_run},
    {NULL},
};
