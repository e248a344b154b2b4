/* Which kernels there are, which of them run here, and how chunks are put into their lanes. */

#include "b2_many.h"

#include "b2_cpu.h"
#include "b2_words.h"

typedef struct kernel {
    const char *name;
    int lanes;
    int pays_from;      /* from this many chunks on it is the fastest; measured */
    int narrower;       /* number of the kernel for fewer; runs wherever this runs */
    b2_kernel_fn *hash; /* NULL: not in this build */
    int (*runs)(void);
} kernel;

static int always(void) { return 1; }

#if B2_X86
#define ON_X86(hash, runs) hash, runs
#else
#define ON_X86(hash, runs) NULL, always
#endif
#if B2_ARM64
#define ON_ARM64(hash, runs) hash, runs
#else
#define ON_ARM64(hash, runs) NULL, always
#endif

/* In rising order of preference: the last that runs is the best. */
enum { NEON, PORTABLE, AVX2, AVX512, KERNEL_COUNT };

/* A pass takes the same time however many of its lanes are used: if that of the portable kernel is
 * 1, then 1.5 with AVX2 and 2 with AVX-512 (on Zen 5). */
static const kernel KERNELS[KERNEL_COUNT] = {
    {"neon", 2, 2, PORTABLE, ON_ARM64(b2_hash_neon, always)},
    {"portable", 1, 1, PORTABLE, b2_hash_portable, always},
    {"avx2", 4, 2, PORTABLE, ON_X86(b2_hash_avx2, cpu_avx2)},
    {"avx512", 8, 5, AVX2, ON_X86(b2_hash_avx512, cpu_avx512)},
};

/* Every thread that finds one of these still unset puts the same number there. */
static int current = -1;
static signed char running[KERNEL_COUNT]; /* 1: runs, -1: does not run, 0: not asked yet */

/* CPUID takes microseconds in a virtual machine, so it is asked once. */
static int runs(int id) {
    if (!running[id]) running[id] = KERNELS[id].hash && KERNELS[id].runs() ? 1 : -1;
    return running[id] > 0;
}

int b2_kernel_count(void) { return KERNEL_COUNT; }

const char *b2_kernel_name(int id) { return KERNELS[id].name; }

int b2_kernel_lanes(int id) { return KERNELS[id].lanes; }

int b2_kernel_find(const char *name) {
    for (int i = 0; i < KERNEL_COUNT; i++) {
        if (strcmp(name, KERNELS[i].name)) continue;
        if (!KERNELS[i].hash) return B2_NOT_BUILT;
        return runs(i) ? i : B2_NO_CPU;
    }
    return B2_UNKNOWN;
}

int b2_kernel_best(void) {
    int best = KERNEL_COUNT - 1;
    while (!runs(best)) best--; /* the portable one always runs */
    return best;
}

int b2_kernel_current(void) {
    if (current < 0) current = b2_kernel_best();
    return current;
}

void b2_kernel_use(int id) { current = id; }

/* --- parameters ----------------------------------------------------------------------------- */

void b2_set_params(b2_job *job, size_t digest_bytes, const uint8_t *key, size_t key_bytes,
                   const uint8_t *salt, size_t salt_bytes, const uint8_t *person,
                   size_t person_bytes) {
    uint8_t block[64] = {0}, first[B2_BLOCK_BYTES] = {0};
    block[0] = (uint8_t)digest_bytes;
    block[1] = (uint8_t)key_bytes;
    block[2] = block[3] = 1; /* fanout and depth of a hash that is no tree */
    if (salt_bytes) memcpy(block + 32, salt, salt_bytes);
    if (person_bytes) memcpy(block + 48, person, person_bytes);
    for (int i = 0; i < 8; i++) job->h0[i] = B2_IV[i] ^ b2_load64(block + 8 * i);
    if (key_bytes) memcpy(first, key, key_bytes);
    for (int i = 0; i < 16; i++) job->key[i] = b2_load64(first + 8 * i);
    job->keyed = key_bytes != 0;
    job->digest_bytes = digest_bytes;
}

void b2_set_tree(b2_job *job, uint8_t fanout, uint8_t depth, uint32_t leaf_bytes,
                 uint8_t node_depth, uint8_t inner_bytes) {
    /* Fanout and depth are 1 so far, the rest 0; the second word is the node's offset. */
    job->h0[0] ^= (uint64_t)(fanout ^ 1) << 16 ^ (uint64_t)(depth ^ 1) << 24;
    job->h0[0] ^= (uint64_t)leaf_bytes << 32;
    job->h0[2] ^= (uint64_t)node_depth ^ (uint64_t)inner_bytes << 8;
    job->numbering = B2_NODES;
}

/* --- distributing --------------------------------------------------------------------------- */

size_t b2_chunks(const b2_job *job) {
    if (!job->in_bytes) return 1;
    return (job->in_bytes - 1) / job->chunk_bytes + 1;
}

/* How many of the chunks left the next pass hashes, and by which kernel. */
static const kernel *pick(size_t left, size_t *count) {
    const kernel *k = &KERNELS[b2_kernel_current()];
    while (left < (size_t)k->pays_from) k = &KERNELS[k->narrower];
    *count = left < (size_t)k->lanes ? left : (size_t)k->lanes;
    return k;
}

/* Whether the last chunk ends differently from the others, so that it must be hashed alone. */
static int flagged(const b2_job *job) { return job->numbering == B2_NODES && job->ends; }

/* Hash the chunks first..first+count, all of one length, into states. */
static void pass(const b2_job *job, const kernel *k, size_t first, size_t count, size_t bytes,
                 size_t end, uint64_t states[B2_MAX_LANES][8]) {
    const uint8_t *in[B2_MAX_LANES];
    uint8_t *copy[B2_MAX_LANES];
    for (size_t l = 0; l < (size_t)k->lanes; l++) {
        const size_t at = first + (l < count ? l : 0); /* unused lanes repeat the first chunk */
        const size_t offset = at * job->chunk_bytes;
        in[l] = job->in ? job->in + offset : NULL;
        copy[l] = job->copy ? job->copy + offset : NULL;
        memcpy(states[l], job->h0, sizeof job->h0);
        if (job->numbering == B2_SALTS) { /* words 4 and 5 of the parameter block are the salt */
            states[l][4] ^= job->first_index + at;
            states[l][5] ^= (uint64_t)(job->ends && at == end);
        } else if (job->numbering == B2_NODES) {
            states[l][1] ^= job->first_index + at;
        }
    }
    k->hash(states, in, job->copy ? copy : NULL, bytes, job->keyed ? job->key : NULL,
            flagged(job) && first == end);
}

/* Hash the next chunks from `at` on; return how many. */
static size_t step(const b2_job *job, size_t at, size_t chunks,
                   uint8_t digests[B2_MAX_LANES][B2_MAX_DIGEST_BYTES]) {
    uint64_t states[B2_MAX_LANES][8];
    const size_t end = chunks - 1;
    const size_t tail = job->in_bytes - end * job->chunk_bytes;
    const size_t whole = tail == job->chunk_bytes && !flagged(job) ? chunks : end;
    size_t count = 1;
    if (at == whole) {
        pass(job, &KERNELS[PORTABLE], at, 1, tail, end, states);
    } else {
        const kernel *k = pick(whole - at, &count);
        pass(job, k, at, count, job->chunk_bytes, end, states);
    }
    for (size_t l = 0; l < count; l++)
        for (int i = 0; i < 8; i++) b2_store64(digests[l] + 8 * i, states[l][i]);
    return count;
}

void b2_many(const b2_job *job, uint8_t *out) {
    uint8_t digests[B2_MAX_LANES][B2_MAX_DIGEST_BYTES];
    const size_t chunks = b2_chunks(job);
    for (size_t at = 0; at < chunks;) {
        const size_t count = step(job, at, chunks, digests);
        for (size_t l = 0; l < count; l++, at++)
            memcpy(out + at * job->digest_bytes, digests[l], job->digest_bytes);
    }
}

ptrdiff_t b2_verify(const b2_job *job, const uint8_t *expected) {
    uint8_t digests[B2_MAX_LANES][B2_MAX_DIGEST_BYTES];
    const size_t chunks = b2_chunks(job);
    for (size_t at = 0; at < chunks;) {
        const size_t count = step(job, at, chunks, digests);
        for (size_t l = 0; l < count; l++, at++)
            if (memcmp(expected + at * job->digest_bytes, digests[l], job->digest_bytes))
                return (ptrdiff_t)at;
    }
    return -1;
}
