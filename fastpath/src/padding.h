/* Finds in constant time where ISO/IEC 7816-4 padding starts; computes Padmé sizes. */
#ifndef PADDING_H
#define PADDING_H

#include <stddef.h>
#include <stdint.h>

#include "b2_words.h"

/* Keeps the compiler from seeing that a mask is all ones or all zeros, and branching on it. */
INLINE uint64_t pad_opaque(uint64_t mask) {
#if defined(_MSC_VER) && !defined(__clang__)
    volatile uint64_t kept = mask;
    return kept;
#else
    __asm__("" : "+r"(mask));
    return mask;
#endif
}

/* All ones if w is not 0. */
INLINE uint64_t pad_nonzero(uint64_t w) { return pad_opaque(0 - ((w | (0 - w)) >> 63)); }

/* Return how many bytes stand before the last 0x80 that is followed only by zeros, or -1. Always
 * reads all of the data, and branches only on its size. */
static inline ptrdiff_t pad_find(const uint8_t *data, size_t size) {
    uint64_t word = 0, at = 0; /* the last 8 bytes that are not all zero, and where they stand */
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        const uint64_t w = b2_load64(data + i), take = pad_nonzero(w);
        word = (w & take) | (word & ~take);
        at = (i & take) | (at & ~take);
    }
    uint64_t rest = 0;
    for (size_t j = i; j < size; j++) rest |= (uint64_t)data[j] << 8 * (j - i);
    const uint64_t take = pad_nonzero(rest);
    word = (rest & take) | (word & ~take);
    at = (i & take) | (at & ~take);
    uint64_t byte = 0, inner = 0; /* the same, among those 8 */
    for (uint64_t k = 0; k < 8; k++) {
        const uint64_t b = word >> 8 * k & 0xff, last = pad_nonzero(b);
        byte = (b & last) | (byte & ~last);
        inner = (k & last) | (inner & ~last);
    }
    const uint64_t wrong = pad_nonzero(byte ^ 0x80);
    return (ptrdiff_t)((at + inner) | wrong);
}

/* The Padmé size for 2 <= size < 2^62. */
static inline uint64_t pad_padme(uint64_t size) {
    unsigned exponent = 0, bits = 0;
    for (uint64_t s = size; s >>= 1;) exponent++;
    for (unsigned e = exponent; e; e >>= 1) bits++;
    const uint64_t mask = ((uint64_t)1 << (exponent - bits)) - 1;
    return (size + mask) & ~mask;
}

#endif
