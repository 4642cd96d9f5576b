/* provisor: the command line. `provisor --help` lists the commands; each is in a cmd_*.c. */
#include "services/cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
