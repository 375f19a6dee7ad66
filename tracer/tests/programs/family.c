// Calls every function of the malloc family a known number of times, each from a function of
// its own, and prints `name calls bytes` for each. No stdio: it would allocate.
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CALLS = 1000 };
static void *volatile sink;

#define SITE __attribute__((noinline)) static void

SITE via_malloc(int i) { sink = malloc(i); free(sink); }
SITE via_calloc(int i) { sink = calloc(i, 3); free(sink); }
SITE via_realloc(int i) { sink = realloc(NULL, i + 1); free(sink); }
SITE via_reallocarray(int i) { sink = reallocarray(NULL, i + 1, 5); free(sink); }
SITE via_memalign(int i) { sink = memalign(64, i); free(sink); }
SITE via_aligned_alloc(int i) { sink = aligned_alloc(64, i * 64); free(sink); }
SITE via_valloc(int i) { sink = valloc(i); free(sink); }
SITE via_pvalloc(int i) { sink = pvalloc(i + 1); free(sink); }
SITE via_posix_memalign(int i) {
    void *p;
    if (posix_memalign(&p, 32, i)) abort();
    free(sink = p);
}
// One block that moves and grows: its first call is an allocation, the others too.
SITE via_growth(int i) {
    static char *block;
    block = realloc(block, (size_t)(i + 1) * 16);
    block[i] = 1;
    sink = block;
}
// None of these hands out a block.
SITE via_failures(int i) {
    volatile size_t huge = PTRDIFF_MAX, half = SIZE_MAX / 2;
    void *p = (void *)1;
    if (malloc(huge)) abort();
    if (calloc(half, 4)) abort();
    if (reallocarray(NULL, half, 4)) abort();
    if (posix_memalign(&p, 3, 8) == 0) abort();
    free(NULL);
    // A realloc that fails leaves the old block alive.
    static char *kept;
    if (!kept) kept = malloc(777);
    if (realloc(kept, huge)) abort();
    (void)i;
}

static void number(char **at, uint64_t n) {
    char digits[20];
    int count = 0;
    do digits[count++] = '0' + n % 10; while (n /= 10);
    while (count) *(*at)++ = digits[--count];
}

static void say(const char *name, uint64_t calls, uint64_t bytes) {
    char line[128], *at = stpcpy(line, name);
    *at++ = ' ';
    number(&at, calls);
    *at++ = ' ';
    number(&at, bytes);
    *at++ = '\n';
    if (write(1, line, at - line) < 0) abort();
}

#define RUN(site, size) do { \
    uint64_t bytes = 0; \
    for (int i = 0; i < CALLS; i++) { site(i); bytes += (size); } \
    say(#site, CALLS, bytes); \
} while (0)

int main(void) {
    RUN(via_malloc, i);
    RUN(via_calloc, i * 3);
    RUN(via_realloc, i + 1);
    RUN(via_reallocarray, (i + 1) * 5);
    RUN(via_memalign, i);
    RUN(via_aligned_alloc, i * 64);
    RUN(via_valloc, i);
    RUN(via_pvalloc, i + 1);
    RUN(via_posix_memalign, i);
    RUN(via_growth, (i + 1) * 16);
    for (int i = 0; i < CALLS; i++) via_failures(i);
    say("via_failures", 1, 777);
    return 0;
}
