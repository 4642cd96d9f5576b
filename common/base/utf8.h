/* utf8: the check that every byte from outside passes before it becomes text. */
#ifndef PROVISOR_UTF8_H
#define PROVISOR_UTF8_H

#include <stdbool.h>

#include "common/base/buf.h"

/* Well-formed UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_valid(slice_t text);
/* Adds text to buf with every malformed byte replaced by U+FFFD. */
void utf8_repair(buf_t *buf, slice_t text);

#endif
