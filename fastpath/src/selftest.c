/* Self-test of the C files, for machines that have no Python: sanitizers, qemu-user, Wine.
 *
 *   selftest          compare the kernels, try padding and buckets; check the digest of all results
 *   selftest N        compare the kernels in N random cases, whose digest is not checked
 *   selftest bench    for each kernel: chunk size, nanoseconds to hash 8 chunks, and with a copy
 *
 *   cc -O2 -I fastpath/src fastpath/src/{selftest,b2_many,b2_portable,b2_neon,b2_avx2,b2_avx512}.c
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "b2_many.h"
#include "padding.h"
#include "token_bucket.h"

/* The digest that every machine and every kernel must compute from these numbers. */
#define EXPECTED "2b1c108752e2c092e1a69ab86f041ae6eb2ad5725c155eefea54b518b8d3900a"

static uint64_t state = 88172645463325252ULL;

static uint64_t draw(void) { /* xorshift64: the same everywhere */
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint64_t draw_any_length(void) {
    const uint64_t bits = draw() % 64;
    return draw() >> bits;
}

static void fail(const char *what, size_t a, size_t b) {
    printf("FAILED: %s (%lu, %lu)\n", what, (unsigned long)a, (unsigned long)b);
    exit(1);
}

/* Exactly as large as asked, so that a sanitizer notices every byte beyond it. */
static uint8_t *block(size_t size) {
    uint8_t *made = malloc(size ? size : 1);
    if (!made) fail("out of memory", size, 0);
    return made;
}

/* --- hashing -------------------------------------------------------------------------------- */

static void draw_job(b2_job *job, size_t chunk_bytes, size_t in_bytes, uint8_t *in) {
    uint8_t key[64], salt[16], person[16];
    /* One draw in each statement, because C does not define which operand is evaluated first. */
    const int keyed = draw() % 2;
    const size_t key_bytes = draw() % 65;
    const size_t salt_bytes = draw() % 17;
    const size_t person_bytes = draw() % 17;
    for (int i = 0; i < 64; i++) key[i] = (uint8_t)draw();
    for (int i = 0; i < 16; i++) salt[i] = person[i] = (uint8_t)draw();
    memset(job, 0, sizeof *job);
    b2_set_params(job, draw() % 64 + 1, key, keyed ? key_bytes : 0, salt, salt_bytes, person,
                  person_bytes);
    for (size_t i = 0; i < in_bytes; i++) in[i] = (uint8_t)draw();
    job->in = in;
    job->in_bytes = in_bytes;
    job->chunk_bytes = chunk_bytes;
    job->numbering = draw() % 3;
    if (job->numbering == B2_NODES) b2_set_tree(job, 2, 3, 4000000000U, (uint8_t)draw(), 64);
    job->first_index = draw();
    job->ends = draw() % 2;
}

static void hash_all(b2_job job, uint8_t *all, size_t size) {
    const uint64_t before = state; /* how much is drawn here depends on the machine's kernels */
    uint8_t *made = block(size), *copy = block(job.in_bytes);
    for (int id = 0; id < b2_kernel_count(); id++) {
        if (b2_kernel_find(b2_kernel_name(id)) < 0) continue;
        b2_kernel_use(id);
        memset(copy, 0x55, job.in_bytes);
        job.copy = draw() % 2 ? copy : NULL;
        b2_many(&job, made);
        if (memcmp(made, all, size)) fail(b2_kernel_name(id), job.chunk_bytes, job.in_bytes);
        if (job.copy && memcmp(copy, job.in, job.in_bytes)) fail("copy", id, job.in_bytes);
        if (b2_verify(&job, made) != -1) fail("verify", id, job.in_bytes);
        const size_t bad = draw() % size;
        made[bad] ^= 1;
        if (b2_verify(&job, made) != (ptrdiff_t)(bad / job.digest_bytes)) fail("bad", id, bad);
    }
    free(made);
    free(copy);
    state = before;
}

static void test_hashing(b2_job *sum, uint8_t digest[32], unsigned long cases) {
    static uint8_t links[64 + B2_MAX_DIGEST_BYTES * 64];
    for (unsigned long round = 0; round < cases; round++) {
        b2_job job;
        const size_t chunk_bytes = draw() % (round % 10 ? 300 : 3000) + 1;
        const size_t in_bytes = draw() % (19 * chunk_bytes + 1);
        uint8_t *in = block(in_bytes);
        draw_job(&job, chunk_bytes, in_bytes, in);
        const size_t size = b2_chunks(&job) * job.digest_bytes;
        b2_kernel_use(b2_kernel_find("portable"));
        b2_many(&job, links + 32);
        hash_all(job, links + 32, size);
        /* A chain: the digest so far, then the new ones. */
        memcpy(links, digest, 32);
        sum->in = links;
        sum->in_bytes = sum->chunk_bytes = 32 + size;
        b2_kernel_use(b2_kernel_find("portable"));
        b2_many(sum, digest);
        free(in);
    }
}

/* --- padding and buckets -------------------------------------------------------------------- */

static void test_padding(void) {
    for (size_t size = 0; size < 600; size++) {
        for (size_t at = 0; at <= size; at += draw() % 5 + 1) {
            uint8_t *data = block(size);
            for (size_t i = 0; i < size; i++) data[i] = i < at ? (uint8_t)draw() : 0;
            if (at < size) data[at] = 0x80;
            const ptrdiff_t found = pad_find(data, size);
            if (at < size && found != (ptrdiff_t)at) fail("pad_find", size, at);
            if (at < size) data[at] = 0x81;
            if (at < size && pad_find(data, size) != -1) fail("pad_find of none", size, at);
            free(data);
        }
    }
    for (uint64_t size = 2, step = 1; size < (uint64_t)1 << 62; size += step, step += step / 8 + 1) {
        const uint64_t made = pad_padme(size);
        if (made < size || made - size > size / 8 || pad_padme(made) != made)
            fail("padme", (size_t)size, (size_t)made);
    }
}

static void test_bucket(void) {
    for (int round = 0; round < 20000; round++) {
        token_bucket b = {draw_any_length() >> 1, draw_any_length() >> 1, 0, 0, 0};
        int64_t now = (int64_t)draw_any_length();
        b.level = b.burst;
        b.at_ns = now;
        for (int i = 0; i < 8; i++) {
            const uint64_t size = b.burst == INT64_MAX ? draw() >> 1 : draw() % (b.burst + 1);
            tb_settle(&b, now);
            const int64_t wait = tb_wait(&b, size, now);
            if (wait == TB_MAX || wait > INT64_MAX - (now > 0 ? now : 0)) break;
            token_bucket early = b;
            if (wait) tb_settle(&early, now + wait - 1);
            if (wait && early.level >= size) fail("a shorter wait would do", round, i);
            now += wait;
            tb_settle(&b, now);
            if (b.level < size || b.level > b.burst) fail("level", round, i);
            b.level -= size;
        }
    }
}

/* --- speed ---------------------------------------------------------------------------------- */

static double seconds(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Nanoseconds of a call, the best of some. */
static double best_of(const b2_job *job, uint8_t *out) {
    const int calls = (int)(((size_t)1 << 20) / job->in_bytes) + 1;
    double best = 1e18;
    for (int i = 0; i < 60; i++) {
        const double start = seconds();
        for (int c = 0; c < calls; c++) b2_many(job, out);
        const double took = (seconds() - start) / calls * 1e9;
        if (took < best) best = took;
    }
    return best;
}

static void bench(void) {
    const size_t sizes[] = {128, 65536, 262144};
    for (int s = 0; s < 3; s++) {
        b2_job job;
        uint8_t out[8 * 32], *in = block(8 * sizes[s]), *copy = block(8 * sizes[s]);
        memset(in, 7, 8 * sizes[s]);
        memset(&job, 0, sizeof job);
        b2_set_params(&job, 32, in, 32, NULL, 0, in, 16);
        job.in = in;
        job.in_bytes = 8 * sizes[s];
        job.chunk_bytes = sizes[s];
        job.numbering = B2_SALTS;
        for (int id = 0; id < b2_kernel_count(); id++) {
            if (b2_kernel_find(b2_kernel_name(id)) < 0) continue;
            b2_kernel_use(id);
            job.copy = NULL;
            const double alone = best_of(&job, out);
            job.copy = copy;
            printf("%s %lu %.0f %.0f\n", b2_kernel_name(id), (unsigned long)sizes[s], alone,
                   best_of(&job, out));
        }
        free(in);
        free(copy);
    }
}

int main(int count, char **arguments) {
    b2_job sum;
    uint8_t digest[32] = {0};
    char text[65];
    if (count > 1 && !strcmp(arguments[1], "bench")) {
        bench();
        return 0;
    }
    const unsigned long cases = count > 1 ? strtoul(arguments[1], NULL, 10) : 1500;
    memset(&sum, 0, sizeof sum);
    b2_set_params(&sum, 32, NULL, 0, NULL, 0, NULL, 0);
    if (count > 1) state ^= (uint64_t)time(NULL);
    test_hashing(&sum, digest, cases);
    if (count > 1) return 0;
    test_padding();
    test_bucket();
    for (int i = 0; i < 32; i++) sprintf(text + 2 * (size_t)i, "%02x", digest[i]);
    printf("kernels:");
    for (int id = 0; id < b2_kernel_count(); id++)
        if (b2_kernel_find(b2_kernel_name(id)) >= 0) printf(" %s", b2_kernel_name(id));
    printf("\nbest: %s\ndigest: %s\n", b2_kernel_name(b2_kernel_best()), text);
    if (strcmp(text, EXPECTED)) fail("the digest is another", 0, 0);
    return 0;
}
