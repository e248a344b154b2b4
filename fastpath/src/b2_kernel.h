/* The source of all kernels: BLAKE2b over LANES messages, word i of all of them in one vector.
 *
 * Each b2_ISA.c defines what follows, then includes this file:
 *   LANES, VEC, FN(name), TARGET           lanes, vector type, names, function attribute
 *   ADD XOR ROT32 ROT24 ROT16 ROT63 SET1   64-bit arithmetic on each lane
 *   GET(address), PUT(address, v)          LANES words in memory order
 *   COPY_BLOCK(to, from)                   128 bytes
 *   FN(load)(m, in)                        read a block of each lane as 16 vectors
 *   LEAVE()                                what the instruction set needs at the end */

#include <string.h>

#include "b2_many.h"
#include "b2_words.h"

/* The message word is added first, so that only the second addition waits for the round before. */
#define G(a, b, c, d, x, y)                                                                  \
    a = ADD(ADD(a, m[x]), b); d = ROT32(XOR(d, a)); c = ADD(c, d); b = ROT24(XOR(b, c));     \
    a = ADD(ADD(a, m[y]), b); d = ROT16(XOR(d, a)); c = ADD(c, d); b = ROT63(XOR(b, c));

/* The schedule is written out, so that every message index is a constant. */
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15) \
    G(v0, v4, v8, v12, s0, s1)     G(v1, v5, v9, v13, s2, s3)                       \
    G(v2, v6, v10, v14, s4, s5)    G(v3, v7, v11, v15, s6, s7)                      \
    G(v0, v5, v10, v15, s8, s9)    G(v1, v6, v11, v12, s10, s11)                    \
    G(v2, v7, v8, v13, s12, s13)   G(v3, v4, v9, v14, s14, s15)

/* One lane is copied in each round, because stores between arithmetic cost almost nothing. Copied
 * all at once, chunks that lie a power of two apart would compete for the same sets of the cache.
 * Measured with AVX-512, copying costs 3 to 7 % this way, and 6 to 35 % the other way. */
#define COPY_LANE(l) if (to && (l) < LANES) COPY_BLOCK(to[(l) % LANES], from[(l) % LANES]);

/* Take a block of each lane into h; copy it from `from` to `to`, if that is not NULL. */
TARGET INLINE void FN(compress)(VEC h[8], const VEC m[16], uint64_t counter, uint64_t f0,
                                uint64_t f1, const uint8_t *const *from, uint8_t *const *to) {
    VEC v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    VEC v8 = SET1(B2_IV[0]), v9 = SET1(B2_IV[1]), v10 = SET1(B2_IV[2]), v11 = SET1(B2_IV[3]);
    /* A chunk has fewer than 2^64 bytes: the upper half of the counter stays 0. */
    VEC v12 = SET1(B2_IV[4] ^ counter), v13 = SET1(B2_IV[5]);
    VEC v14 = SET1(B2_IV[6] ^ f0), v15 = SET1(B2_IV[7] ^ f1);
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)          COPY_LANE(0)
    ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4)          COPY_LANE(1)
    ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8)          COPY_LANE(2)
    ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13)          COPY_LANE(3)
    ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9)          COPY_LANE(4)
    ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11)          COPY_LANE(5)
    ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10)          COPY_LANE(6)
    ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5)          COPY_LANE(7)
    ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)
    h[0] = XOR(h[0], XOR(v0, v8));  h[1] = XOR(h[1], XOR(v1, v9));
    h[2] = XOR(h[2], XOR(v2, v10)); h[3] = XOR(h[3], XOR(v3, v11));
    h[4] = XOR(h[4], XOR(v4, v12)); h[5] = XOR(h[5], XOR(v5, v13));
    h[6] = XOR(h[6], XOR(v6, v14)); h[7] = XOR(h[7], XOR(v7, v15));
}

/* The last block of each lane, filled up with zeros. */
TARGET INLINE void FN(load_tail)(VEC m[16], const uint8_t *const from[LANES],
                                 uint8_t *const *to, size_t bytes) {
    uint8_t tail[LANES][B2_BLOCK_BYTES];
    const uint8_t *p[LANES];
    memset(tail, 0, sizeof tail);
    for (int l = 0; l < LANES; l++) {
        if (bytes) memcpy(tail[l], from[l], bytes); /* without data, the pointer may be NULL */
        if (bytes && to) memcpy(to[l], from[l], bytes);
        p[l] = tail[l];
    }
    FN(load)(m, p);
}

TARGET void FN(b2_hash)(uint64_t state[][8], const uint8_t *const in[], uint8_t *const copy[],
                        size_t bytes, const uint64_t *key, int last_node) {
    VEC h[8], m[16];
    uint64_t lanes[8][LANES];
    const uint8_t *from[LANES];
    uint8_t *places[LANES], *const *to = copy ? places : NULL;
    const uint64_t f1 = last_node ? ~0ULL : 0;
    uint64_t counter = 0;
    for (int l = 0; l < LANES; l++) {
        from[l] = in[l];
        places[l] = copy ? copy[l] : NULL;
        for (int i = 0; i < 8; i++) lanes[i][l] = state[l][i];
    }
    for (int i = 0; i < 8; i++) h[i] = GET(lanes[i]);
    if (key) {
        const int only = bytes == 0;
        for (int i = 0; i < 16; i++) m[i] = SET1(key[i]);
        counter = B2_BLOCK_BYTES;
        FN(compress)(h, m, counter, only ? ~0ULL : 0, only ? f1 : 0, NULL, NULL);
    }
    if (bytes || !key) {
        for (; bytes > B2_BLOCK_BYTES; bytes -= B2_BLOCK_BYTES) {
            FN(load)(m, from);
            counter += B2_BLOCK_BYTES;
            FN(compress)(h, m, counter, 0, 0, from, to);
            for (int l = 0; l < LANES; l++) {
                from[l] += B2_BLOCK_BYTES;
                if (to) places[l] += B2_BLOCK_BYTES;
            }
        }
        FN(load_tail)(m, from, to, bytes);
        FN(compress)(h, m, counter + bytes, ~0ULL, f1, NULL, NULL);
    }
    for (int i = 0; i < 8; i++) PUT(lanes[i], h[i]);
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < 8; i++) state[l][i] = lanes[i][l];
    LEAVE();
}
