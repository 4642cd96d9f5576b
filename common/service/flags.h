/* flags: the command line that every service has: --config --data --check --version --help. */
#ifndef PROVISOR_FLAGS_H
#define PROVISOR_FLAGS_H

#include <stdbool.h>

typedef struct {
    const char *config, *data; /* NULL: not given; borrowed from argv */
    bool check;
} flags_t;

enum { FLAGS_USAGE = 64 };

/* True: go on. False: help, version or what is wrong has been printed, and the process ends with
 * ret_code. */
bool flags_read(int argc, char **argv, const char *name, const char *help, flags_t *ret_flags,
                int *ret_code);

#endif
