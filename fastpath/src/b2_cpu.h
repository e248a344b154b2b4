/* Which instruction sets can be used: the processor must have them, and the operating system must
 * save their registers.
 *
 * __builtin_cpu_supports is not used, because it finds nothing with a clang that lacks its runtime
 * library. */
#ifndef B2_CPU_H
#define B2_CPU_H

#include "b2_words.h"

#if B2_X86
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#endif

enum { CPU_EAX, CPU_EBX, CPU_ECX, CPU_EDX };

INLINE void cpu_id(uint32_t r[4], uint32_t leaf) {
#if defined(_MSC_VER) && !defined(__clang__)
    __cpuidex((int *)r, (int)leaf, 0);
#else
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
#endif
}

/* Register sets that the operating system saves. */
INLINE uint64_t cpu_saved(void) {
#if defined(_MSC_VER) && !defined(__clang__)
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
#endif
}

/* Whether all these bits of EBX in leaf 7 are set and these register sets are saved. */
INLINE int cpu_has(uint32_t bits, uint64_t sets) {
    uint32_t r[4];
    cpu_id(r, 0);
    if (r[CPU_EAX] < 7) return 0;
    cpu_id(r, 1);
    if (!(r[CPU_ECX] >> 27 & 1)) return 0; /* OSXSAVE: without it there is no XGETBV */
    if ((cpu_saved() & sets) != sets) return 0;
    cpu_id(r, 7);
    return (r[CPU_EBX] & bits) == bits;
}

enum { CPU_AVX2 = 1 << 5, CPU_AVX512F = 1 << 16 };

/* XMM and YMM; then also masks, ZMM, and the ZMM from 16 on. */
static int cpu_avx2(void) { return cpu_has(CPU_AVX2, 0x06); }
static int cpu_avx512(void) { return cpu_has(CPU_AVX2 | CPU_AVX512F, 0xE6); }

#endif
#endif
