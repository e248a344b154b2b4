/* One lane in plain C: runs on every machine, and hashes what the wider kernels leave over. */

#include "b2_words.h"

#define LANES 1
#define VEC uint64_t
#define FN(name) name##_portable
#define TARGET
#define ADD(a, b) ((a) + (b))
#define XOR(a, b) ((a) ^ (b))
#define ROT32(a) ((a) >> 32 | (a) << 32)
#define ROT24(a) ((a) >> 24 | (a) << 40)
#define ROT16(a) ((a) >> 16 | (a) << 48)
#define ROT63(a) ((a) >> 63 | (a) << 1)
#define SET1(x) (x)
#define GET(address) (*(address))
#define PUT(address, v) (*(address) = (v))
#define COPY_BLOCK(to, from) memcpy(to, from, 128)
#define LEAVE() ((void)0)

INLINE void load_portable(uint64_t m[16], const uint8_t *const in[1]) {
    for (int i = 0; i < 16; i++) m[i] = b2_load64(in[0] + 8 * i);
}

#include "b2_kernel.h"
