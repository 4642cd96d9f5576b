/* target: where a backup goes: a folder that becomes visible when it is complete. */
#ifndef PROVISOR_TARGET_H
#define PROVISOR_TARGET_H

#include "common/base/buf.h"

/* The absolute form of a path whose last part need not exist; terminated. RESULT_NOT_FOUND: the
 * folder above it does not. */
result_t target_absolute(const char *path, buf_t *ret_path, fault_t *fault) MUST_CHECK;
/* RESULT_EXISTS: something is there, other than an empty folder. */
result_t target_vacant(const char *path, fault_t *fault) MUST_CHECK;
/* Mode 0700. */
result_t target_make(const char *path, fault_t *fault) MUST_CHECK;
/* A small file, mode 0600, synced. */
result_t target_write(const char *path, const buf_t *text, fault_t *fault) MUST_CHECK;
/* Everything in from is on the disk; takes the name to, which is vacant, also after a power cut. */
result_t target_publish(const char *from, const char *to, fault_t *fault) MUST_CHECK;
/* With everything in it. */
void target_remove(const char *path);

#endif
