/* script_path: which files may be run as scripts: regular, executable, and directly below the
 * configured folder once all links are resolved. */
#ifndef PROVISOR_SCRIPT_PATH_H
#define PROVISOR_SCRIPT_PATH_H

#include "common/base/buf.h"

/* task: an absolute path, or one that is relative to dir. ret_path gets the resolved path.
 * RESULT_INVALID: it may not be run, and the fault says why. dir "": none may. */
result_t script_path_resolve(const char *dir, const char *task, buf_t *ret_path,
                             fault_t *fault) MUST_CHECK;

#endif
