/* Eight lanes with AVX-512F, which rotates in one instruction. */

#include "b2_words.h"

#if B2_X86
#include <immintrin.h>

#define LANES 8
#define VEC __m512i
#define FN(name) name##_avx512
#define TARGET TARGET_OF("avx512f")
#define ADD(a, b) _mm512_add_epi64(a, b)
#define XOR(a, b) _mm512_xor_si512(a, b)
#define ROT32(a) _mm512_ror_epi64(a, 32)
#define ROT24(a) _mm512_ror_epi64(a, 24)
#define ROT16(a) _mm512_ror_epi64(a, 16)
#define ROT63(a) _mm512_ror_epi64(a, 63)
#define SET1(x) _mm512_set1_epi64((long long)(x))
#define GET(address) _mm512_loadu_si512((const void *)(address))
#define PUT(address, v) _mm512_storeu_si512((void *)(address), v)
#define COPY_BLOCK(to, from)               \
    do {                                  \
        PUT((to), GET(from));             \
        PUT((to) + 64, GET((from) + 64)); \
    } while (0)
#define LEAVE() _mm256_zeroupper()

#define LOW(a, b) _mm512_unpacklo_epi64(a, b)
#define HIGH(a, b) _mm512_unpackhi_epi64(a, b)
#define EVEN(a, b) _mm512_shuffle_i64x2(a, b, 0x88)
#define ODD(a, b) _mm512_shuffle_i64x2(a, b, 0xDD)

/* Words 8k..8k+7 of the eight lanes: an 8x8 transpose, first pairs of words, then of pairs. */
#define LOAD8(k)                                                                         \
    {                                                                                    \
        const __m512i r0 = GET(in[0] + 64 * (k)), r1 = GET(in[1] + 64 * (k));            \
        const __m512i r2 = GET(in[2] + 64 * (k)), r3 = GET(in[3] + 64 * (k));            \
        const __m512i r4 = GET(in[4] + 64 * (k)), r5 = GET(in[5] + 64 * (k));            \
        const __m512i r6 = GET(in[6] + 64 * (k)), r7 = GET(in[7] + 64 * (k));            \
        const __m512i a0 = LOW(r0, r1), a1 = LOW(r2, r3), a2 = LOW(r4, r5), a3 = LOW(r6, r7);     \
        const __m512i b0 = HIGH(r0, r1), b1 = HIGH(r2, r3), b2 = HIGH(r4, r5), b3 = HIGH(r6, r7); \
        const __m512i c0 = EVEN(a0, a1), c1 = EVEN(a2, a3), d0 = ODD(a0, a1), d1 = ODD(a2, a3);   \
        const __m512i e0 = EVEN(b0, b1), e1 = EVEN(b2, b3), f0 = ODD(b0, b1), f1 = ODD(b2, b3);   \
        m[8 * (k) + 0] = EVEN(c0, c1);                                                   \
        m[8 * (k) + 1] = EVEN(e0, e1);                                                   \
        m[8 * (k) + 2] = EVEN(d0, d1);                                                   \
        m[8 * (k) + 3] = EVEN(f0, f1);                                                   \
        m[8 * (k) + 4] = ODD(c0, c1);                                                    \
        m[8 * (k) + 5] = ODD(e0, e1);                                                    \
        m[8 * (k) + 6] = ODD(d0, d1);                                                    \
        m[8 * (k) + 7] = ODD(f0, f1);                                                    \
    }

TARGET INLINE void load_avx512(__m512i m[16], const uint8_t *const in[8]) {
    LOAD8(0) LOAD8(1)
}

#include "b2_kernel.h"
#else
typedef int b2_avx512_is_for_x86;
#endif
