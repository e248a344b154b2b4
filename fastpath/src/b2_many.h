/* BLAKE2b (RFC 7693) of many chunks in one call: the interface of the kernels and of the dispatch.
 *
 * A kernel hashes as many messages of one length at once as it has lanes. b2_many.c cuts the data
 * into chunks and fills the lanes; only it knows which kernels there are and which of them this
 * machine runs. No function allocates or fails, and the only global is the chosen kernel. */
#ifndef B2_MANY_H
#define B2_MANY_H

#include <stddef.h>
#include <stdint.h>

#define B2_BLOCK_BYTES 128
#define B2_MAX_DIGEST_BYTES 64
#define B2_MAX_LANES 8

/* The chunk's number may go into its salt, with a mark on the last of all; or it is the offset of
 * a node of a tree hash, whose last node has a flag of its own (section 2.10 of the BLAKE2 paper). */
enum { B2_ALIKE, B2_SALTS, B2_NODES };

/* What the chunks of a call have in common, and where they lie. */
typedef struct b2_job {
    uint64_t h0[8];    /* IV xor parameter block: b2_set_params */
    uint64_t key[16];  /* the key as a block of words, when there is one */
    const uint8_t *in; /* chunks one after the other, the last perhaps short */
    size_t in_bytes;
    size_t chunk_bytes;    /* not 0 */
    uint8_t *copy;         /* NULL, or where to copy the input; must not overlap it */
    size_t digest_bytes;   /* 1..64 */
    int keyed;
    int numbering;        /* how a chunk is distinguished: one of those below */
    uint64_t first_index; /* number of the first chunk, if they are numbered */
    int ends;             /* the last chunk of the input is the last of all */
} b2_job;

/* Set digest_bytes, key and h0. The arrays are at most 64, 16 and 16 bytes long. */
void b2_set_params(b2_job *job, size_t digest_bytes, const uint8_t *key, size_t key_bytes,
                   const uint8_t *salt, size_t salt_bytes, const uint8_t *person,
                   size_t person_bytes);

/* Make the chunks nodes of a tree, from first_index on; after b2_set_params. */
void b2_set_tree(b2_job *job, uint8_t fanout, uint8_t depth, uint32_t leaf_bytes,
                 uint8_t node_depth, uint8_t inner_bytes);

/* Number of chunks of a job: without input, one of no bytes. */
size_t b2_chunks(const b2_job *job);

/* Write the digest of each chunk to out, one after the other. */
void b2_many(const b2_job *job, uint8_t *out);

/* Return the first chunk whose digest differs from the one in digests, or -1. If `copy` is set, the
 * chunks before that one were copied, and perhaps some after it. */
ptrdiff_t b2_verify(const b2_job *job, const uint8_t *digests);

/* Kernels by their number; the last that runs is the best. */
enum { B2_UNKNOWN = -1, B2_NOT_BUILT = -2, B2_NO_CPU = -3 };
int b2_kernel_count(void);
const char *b2_kernel_name(int id);
int b2_kernel_lanes(int id);
int b2_kernel_find(const char *name); /* its number, or why it cannot be used */
int b2_kernel_best(void);
int b2_kernel_current(void);
void b2_kernel_use(int id);

/* A kernel: state[l] holds h0 of lane l and then its final state; key is NULL or the key block;
 * copy is NULL, or one place for each lane. */
typedef void b2_kernel_fn(uint64_t state[][8], const uint8_t *const in[], uint8_t *const copy[],
                          size_t bytes, const uint64_t *key, int last_node);

b2_kernel_fn b2_hash_portable, b2_hash_neon, b2_hash_avx2, b2_hash_avx512;

#endif
