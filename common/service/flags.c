#include "common/service/flags.h"

#include <getopt.h>
#include <stdio.h>

static void print_help(const char *name, const char *help)
{
    printf("Usage: provisor-%s [--config FILE] [--data DIR] [--check]\n\n%s\n\n"
           "  --config FILE  settings (ZPL; `provisor config` prints the defaults);\n"
           "                 also PROVISOR_CONFIG\n"
           "  --data DIR     folder of every store; also PROVISOR_DATA; else ./provisor-data\n"
           "  --check        reads and checks the settings, opens nothing\n"
           "  --version      prints the version\n"
           "  --help         prints this\n\n"
           "Each setting can also be given as PROVISOR_<SECTION>_<KEY>. SIGTERM drains and stops,\n"
           "SIGHUP reloads. Exit codes: 0 stopped in order, 64 usage, 70 failed while running,\n"
           "75 store or port in use, 78 configuration.\n",
           name, help);
}

/* False: the process ends with *ret_code. */
static bool take_option(int option, const char *name, const char *help, flags_t *ret_flags,
                        int *ret_code)
{
    *ret_code = 0;
    switch (option) {
    case 'c':
        ret_flags->config = optarg;
        return true;
    case 'd':
        ret_flags->data = optarg;
        return true;
    case 'k':
        ret_flags->check = true;
        return true;
    case 'v':
        printf("provisor-%s %s\n", name, PROVISOR_VERSION);
        return false;
    case 'h':
        print_help(name, help);
        return false;
    default:
        fprintf(stderr, "Try provisor-%s --help.\n", name);
        *ret_code = FLAGS_USAGE;
        return false;
    }
}

bool flags_read(int argc, char **argv, const char *name, const char *help, flags_t *ret_flags,
                int *ret_code)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"data", required_argument, NULL, 'd'},
        {"check", no_argument, NULL, 'k'},        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    flags_t flags = {0};
    optind = 1;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!take_option(option, name, help, &flags, ret_code))
            return false;
    if (optind != argc) {
        fprintf(stderr, "provisor-%s: unexpected \"%s\"; try --help.\n", name, argv[optind]);
        *ret_code = FLAGS_USAGE;
        return false;
    }
    *ret_flags = flags;
    return true;
}
