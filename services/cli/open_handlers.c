#include "services/cli/open_handlers.h"

#include <errno.h>
#include <unistd.h>

int open_or_make_handlers(const cli_t *cli, handlers_t **ret_handlers)
{
    fault_t fault;
    if (handlers_open(config_handlers_dir(cli_config(cli)), ret_handlers, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "%s", fault.text);
    return EXIT_OK;
}

int open_handlers(const cli_t *cli, handlers_t **ret_handlers)
{
    const char *dir = config_handlers_dir(cli_config(cli));
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/handlers.db", dir);
    if (access(path.data, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return cli_fail(cli, EXIT_FAILED,
                        "there is no handlers.db in %s; is --data right? (provisor up and provisor "
                        "handler add make it)",
                        dir);
    return open_or_make_handlers(cli, ret_handlers);
}
