/* digest: a fast hash with a seed, in the manner of wyhash: 16 bytes at a time through a 64x64
 * multiplication. With a secret seed nobody can choose keys that collide; with a fixed one its
 * values may be stored. Not for signatures. */
#ifndef PROVISOR_DIGEST_H
#define PROVISOR_DIGEST_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/buf.h"

static inline uint64_t digest_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t digest_word(const char *data, size_t size)
{
    uint64_t word = 0;
    memcpy(&word, data, size < 8 ? size : 8);
    return le64toh(word);
}

/* Takes in one field, its length included, so that fields one after the other are unambiguous. */
static inline uint64_t digest_add(uint64_t state, slice_t field)
{
    const uint64_t k0 = 0xa0761d6478bd642full, k1 = 0xe7037ed1a0b428dbull,
                   k2 = 0x8ebc6af09c88c6e3ull;
    const char *at = field.data;
    size_t left = field.size;
    for (; left > 16; at += 16, left -= 16)
        state = digest_fold(digest_word(at, 8) ^ k1, digest_word(at + 8, 8) ^ state);
    uint64_t a = left ? digest_word(at, left) : 0;
    uint64_t b = left > 8 ? digest_word(at + 8, left - 8) : 0;
    return digest_fold(k0 ^ field.size, digest_fold(a ^ k2, b ^ state ^ k1));
}

#endif
