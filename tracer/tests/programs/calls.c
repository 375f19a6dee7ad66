// Calls each function of the malloc family a known number of times, in ways
// that succeed, fail, nest and resize; see tests/probes.rs for the sums.
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

static void *blocks[2000];
static int count;

static void keep(void *block) { blocks[count++] = block; }

int main(void) {
    volatile size_t huge = SIZE_MAX / 2;
    for (int i = 0; i < 1000; i++) keep(malloc(i));
    for (int i = 0; i < 100; i++) keep(calloc(i + 1, 3));
    for (int i = 0; i < 50; i++) keep(realloc(NULL, 10));
    for (int i = 0; i < 40; i++) blocks[i] = realloc(blocks[i], 2000);
    for (int i = 0; i < 7; i++) keep(reallocarray(NULL, 3, 5));
    for (int i = 0; i < 6; i++) {
        void *block;
        if (posix_memalign(&block, 64, 100)) return 1;
        keep(block);
    }
    for (int i = 0; i < 3; i++) keep(valloc(128));
    for (int i = 0; i < 2; i++) keep(pvalloc(128));
    // One probe serves both names where they share an address.
    for (int i = 0; i < 5; i++) keep(aligned_alloc(64, 128));
    for (int i = 0; i < 4; i++) keep(memalign(64, 128));
    // Failures: no allocation, and the old block lives on.
    void *block;
    volatile int failed = 0;
    failed += malloc(huge * 2 + 1) == NULL;
    failed += calloc(huge, huge) == NULL;
    failed += posix_memalign(&block, 3, 8) != 0;
    failed += realloc(blocks[0], huge * 2 + 1) == NULL;
    if (failed != 4) return 2;
    for (int i = 0; i < count; i++) free(blocks[i]);
    free(NULL);
    return 3;
}
