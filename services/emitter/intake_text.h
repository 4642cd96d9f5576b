/* intake_text: what intake asks about pieces of JSON text. Shared by the parts of intake only. */
#ifndef PROVISOR_INTAKE_TEXT_H
#define PROVISOR_INTAKE_TEXT_H

#include "common/base/buf.h"

enum { INTAKE_PATH_MAX = 256 };
/* Appends "/key" (RFC 6901: ~0 and ~1) up to INTAKE_PATH_MAX bytes in all. */
void intake_path_add(buf_t *path, slice_t key);
bool intake_is_ascii(slice_t text);
/* A string as written, whose escapes are known to be complete: does it hold half of a surrogate
 * pair? yajl lets it pass. */
bool intake_has_lone_surrogate(slice_t raw);
/* A key that stands twice, or NULL. Few keys are compared with each other; many are sorted (in
 * place), so that no choice of keys is slow. */
const slice_t *intake_duplicate_key(slice_t *keys, size_t n);

#endif
