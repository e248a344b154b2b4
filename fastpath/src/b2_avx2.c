/* Four lanes with AVX2, in a file of its own so that no compiler mixes instruction sets. */

#include "b2_words.h"

#if B2_X86
#include <immintrin.h>

#define LANES 4
#define VEC __m256i
#define FN(name) name##_avx2
#define TARGET TARGET_OF("avx2")
#define ADD(a, b) _mm256_add_epi64(a, b)
#define XOR(a, b) _mm256_xor_si256(a, b)
#define ROT32(a) _mm256_shuffle_epi32(a, 0xB1)
#define ROT24(a)                                                                           \
    _mm256_shuffle_epi8(a, _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, \
                                            9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, \
                                            15, 8, 9, 10))
#define ROT16(a)                                                                           \
    _mm256_shuffle_epi8(a, _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, \
                                            8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13,  \
                                            14, 15, 8, 9))
#define ROT63(a) _mm256_or_si256(_mm256_srli_epi64(a, 63), _mm256_add_epi64(a, a))
#define SET1(x) _mm256_set1_epi64x((long long)(x))
#define GET(address) _mm256_loadu_si256((const __m256i *)(address))
#define PUT(address, v) _mm256_storeu_si256((__m256i *)(address), v)
#define COPY_BLOCK(to, from)                                                                \
    do {                                                                                   \
        PUT((to), GET(from));                                                              \
        PUT((to) + 32, GET((from) + 32));                                                  \
        PUT((to) + 64, GET((from) + 64));                                                  \
        PUT((to) + 96, GET((from) + 96));                                                  \
    } while (0)
#define LEAVE() _mm256_zeroupper()

/* Words 4k..4k+3 of the four lanes: a 4x4 transpose. Written without a loop, because gcc would keep
 * the arrays of a loop in memory. */
#define LOAD4(k)                                                                 \
    {                                                                            \
        const __m256i r0 = GET(in[0] + 32 * (k)), r1 = GET(in[1] + 32 * (k));    \
        const __m256i r2 = GET(in[2] + 32 * (k)), r3 = GET(in[3] + 32 * (k));    \
        const __m256i low0 = _mm256_unpacklo_epi64(r0, r1);                      \
        const __m256i high0 = _mm256_unpackhi_epi64(r0, r1);                     \
        const __m256i low2 = _mm256_unpacklo_epi64(r2, r3);                      \
        const __m256i high2 = _mm256_unpackhi_epi64(r2, r3);                     \
        m[4 * (k) + 0] = _mm256_permute2x128_si256(low0, low2, 0x20);            \
        m[4 * (k) + 1] = _mm256_permute2x128_si256(high0, high2, 0x20);          \
        m[4 * (k) + 2] = _mm256_permute2x128_si256(low0, low2, 0x31);            \
        m[4 * (k) + 3] = _mm256_permute2x128_si256(high0, high2, 0x31);          \
    }

TARGET INLINE void load_avx2(__m256i m[16], const uint8_t *const in[4]) {
    LOAD4(0) LOAD4(1) LOAD4(2) LOAD4(3)
}

#include "b2_kernel.h"
#else
typedef int b2_avx2_is_for_x86;
#endif
