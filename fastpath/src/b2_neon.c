/* Two lanes with NEON. Not measured yet: whether it beats plain C for 64-bit words. */

#include "b2_words.h"

#if B2_ARM64
#include <arm_neon.h>

#define LANES 2
#define VEC uint64x2_t
#define FN(name) name##_neon
#define TARGET
#define ADD(a, b) vaddq_u64(a, b)
#define XOR(a, b) veorq_u64(a, b)
#define ROT32(a) vreinterpretq_u64_u32(vrev64q_u32(vreinterpretq_u32_u64(a)))
#define ROT24(a) vsriq_n_u64(vshlq_n_u64(a, 40), a, 24)
#define ROT16(a) vsriq_n_u64(vshlq_n_u64(a, 48), a, 16)
#define ROT63(a) vsriq_n_u64(vaddq_u64(a, a), a, 63)
#define SET1(x) vdupq_n_u64(x)
#define GET(address) vld1q_u64(address)
#define PUT(address, v) vst1q_u64(address, v)
#define COPY_BLOCK(to, from) memcpy(to, from, 128)
#define LEAVE() ((void)0)

/* Words 2k and 2k+1 of the two lanes, loaded as bytes because they may not be aligned. */
#define LOAD2(k)                                                           \
    {                                                                      \
        const uint8x16_t r0 = vld1q_u8(in[0] + 16 * (k));                  \
        const uint8x16_t r1 = vld1q_u8(in[1] + 16 * (k));                  \
        const uint64x2_t a = vreinterpretq_u64_u8(r0);                     \
        const uint64x2_t b = vreinterpretq_u64_u8(r1);                     \
        m[2 * (k) + 0] = vzip1q_u64(a, b);                                 \
        m[2 * (k) + 1] = vzip2q_u64(a, b);                                 \
    }

INLINE void load_neon(uint64x2_t m[16], const uint8_t *const in[2]) {
    LOAD2(0) LOAD2(1) LOAD2(2) LOAD2(3) LOAD2(4) LOAD2(5) LOAD2(6) LOAD2(7)
}

#include "b2_kernel.h"
#else
typedef int b2_neon_is_for_arm64;
#endif
