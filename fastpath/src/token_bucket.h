/* A token bucket in exact integers: tokens and nanoseconds, nothing wider than 64 bits.
 *
 * The level is kept in whole tokens and billionths of one, so nothing is lost by rounding. Rate,
 * burst and sizes are below 2^63, and a time is any int64; products are split so that they fit. */
#ifndef TOKEN_BUCKET_H
#define TOKEN_BUCKET_H

#include <stdint.h>

#define TB_SECOND_NS 1000000000ULL
#define TB_MAX INT64_MAX

typedef struct token_bucket {
    uint64_t per_s;
    uint64_t burst;
    uint64_t level; /* at most burst */
    uint64_t part;  /* billionths of a token; 0 if the bucket is full */
    int64_t at_ns;  /* the latest time given */
} token_bucket;

/* Add the tokens of the time since at_ns; an earlier time adds none. */
static inline void tb_settle(token_bucket *b, int64_t now_ns) {
    if (now_ns <= b->at_ns) return;
    const uint64_t passed = (uint64_t)now_ns - (uint64_t)b->at_ns;
    const uint64_t missing = b->burst - b->level; /* not counting `part` */
    const uint64_t seconds = passed / TB_SECOND_NS, rest = passed % TB_SECOND_NS;
    const uint64_t part = b->per_s % TB_SECOND_NS * rest + b->part; /* below 2^60 */
    uint64_t gained = b->per_s / TB_SECOND_NS * rest + part / TB_SECOND_NS; /* below 2^63 + 2^31 */
    int full = b->per_s && seconds > missing / b->per_s;
    if (!full) {
        gained += b->per_s * seconds; /* at most `missing` is added: below 2^64 */
        full = gained >= missing;
    }
    b->at_ns = now_ns;
    b->level = full ? b->burst : b->level + gained;
    b->part = full ? 0 : part % TB_SECOND_NS;
}

/* floor(a * 10^9 / b) for a < b. */
static inline uint64_t tb_billionths(uint64_t a, uint64_t b) {
    uint64_t quotient = 0, rest = 0;
    for (int bit = 29; bit >= 0; bit--) { /* 10^9 < 2^30: Horner's rule on its bits, modulo b */
        quotient += quotient;
        if (rest >= b - rest) { rest -= b - rest; quotient++; } else { rest += rest; }
        if (!(TB_SECOND_NS >> bit & 1)) continue;
        if (rest >= b - a) { rest -= b - a; quotient++; } else { rest += a; }
    }
    return quotient;
}

/* ceil((tokens * 10^9 - part) / per_s) for 0 < tokens <= per_s and part < 10^9. */
static inline uint64_t tb_ns(uint64_t tokens, uint64_t part, uint64_t per_s) {
    if (tokens <= UINT64_MAX / TB_SECOND_NS) {
        const uint64_t units = tokens * TB_SECOND_NS - part;
        return units / per_s + (units % per_s != 0);
    }
    /* From here on part < per_s, so it shortens the wait by at most 1. */
    if (tokens == per_s) return TB_SECOND_NS;
    const uint64_t whole = tb_billionths(tokens, per_s);
    const uint64_t left = tokens * TB_SECOND_NS - whole * per_s; /* below per_s, so exact mod 2^64 */
    return whole + (left > part);
}

/* The exact number of nanoseconds from now until the level reaches size (at most burst), if nothing
 * is taken before; TB_MAX if that is never, or later. Call tb_settle first. */
static inline int64_t tb_wait(const token_bucket *b, uint64_t size, int64_t now_ns) {
    if (b->level >= size) return 0;
    if (!b->per_s) return TB_MAX;
    const uint64_t missing = size - b->level;
    uint64_t seconds = missing / b->per_s, rest = missing % b->per_s;
    if (!rest && b->part) { /* the part of a token makes the last second shorter */
        seconds--;
        rest = b->per_s;
    }
    if (seconds > TB_MAX / TB_SECOND_NS) return TB_MAX;
    uint64_t ns = seconds * TB_SECOND_NS + (rest ? tb_ns(rest, b->part, b->per_s) : 0);
    const uint64_t behind = (uint64_t)b->at_ns - (uint64_t)now_ns; /* a clock that went back */
    if (ns > TB_MAX || behind > TB_MAX - ns) return TB_MAX;
    return (int64_t)(ns + behind);
}

#endif
