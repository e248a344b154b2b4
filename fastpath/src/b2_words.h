/* Compilers and byte order: what the C files share. */
#ifndef B2_WORDS_H
#define B2_WORDS_H

#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define INLINE static __forceinline
#define TARGET_OF(isa)
#else
#define INLINE static inline __attribute__((always_inline))
#define TARGET_OF(isa) __attribute__((target(isa)))
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define B2_X86 1
#else
#define B2_X86 0
#endif

/* Big-endian ARM orders the lanes of a register differently, so it uses the portable kernel. */
#if (defined(__aarch64__) && !defined(__AARCH64EB__)) || defined(_M_ARM64)
#define B2_ARM64 1
#else
#define B2_ARM64 0
#endif

#if defined(_MSC_VER) || \
    (defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#define B2_LITTLE_ENDIAN 1
#else
#define B2_LITTLE_ENDIAN 0
#endif

static const uint64_t B2_IV[8] = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL};

/* Word of 8 bytes, least significant first. */
INLINE uint64_t b2_load64(const uint8_t *p) {
    uint64_t w;
#if B2_LITTLE_ENDIAN
    memcpy(&w, p, 8);
#else
    w = 0;
    for (int i = 7; i >= 0; i--) w = w << 8 | p[i];
#endif
    return w;
}

INLINE void b2_store64(uint8_t *p, uint64_t w) {
#if B2_LITTLE_ENDIAN
    memcpy(p, &w, 8);
#else
    for (int i = 0; i < 8; i++, w >>= 8) p[i] = (uint8_t)w;
#endif
}

#endif
