/* hash: one stable 64-bit hash (FNV-1a with the finalizer of MurmurHash3).
 *
 * Partitions and lanes are stored with it, so it never changes. Not for hostile keys of unbounded
 * number: who can choose object ids is a core, which is trusted to choose them. */
#ifndef PROVISOR_HASH_H
#define PROVISOR_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t hash_add(uint64_t state, const void *data, size_t size)
{
    const unsigned char *byte = data;
    for (size_t i = 0; i < size; i++)
        state = (state ^ byte[i]) * 0x100000001b3ull;
    return state;
}

static inline uint64_t hash_begin(void)
{
    return 0xcbf29ce484222325ull;
}

static inline uint64_t hash_end(uint64_t state)
{
    state ^= state >> 33;
    state *= 0xff51afd7ed558ccdull;
    state ^= state >> 33;
    state *= 0xc4ceb9fe1a85ec53ull;
    return state ^ (state >> 33);
}

static inline uint64_t hash_bytes(const void *data, size_t size)
{
    return hash_end(hash_add(hash_begin(), data, size));
}

#endif
