/* decimal: comparing JSON numbers of any length as the decimals that they are written as. Money and
 * 64-bit ids do not survive a double. */
#ifndef PROVISOR_DECIMAL_H
#define PROVISOR_DECIMAL_H

#include "common/base/buf.h"

/* sign * 0.DIGITS * 10^exponent. Zero-initialised it is 0. */
typedef struct {
    int sign;         /* -1, 0, 1 */
    int64_t exponent; /* cut to +-10^18, beyond which numbers of the same digits are the same */
    slice_t digits;   /* from the first to the last that is not 0; may have a '.'; borrowed */
} decimal_t;

/* The text is a JSON number; of anything else it takes what looks like one. */
decimal_t decimal_of(slice_t text);
/* -1, 0, 1. Costs as much as the shorter one is long, and nothing for their exponents. */
int decimal_compare(const decimal_t *a, const decimal_t *b);

#endif
