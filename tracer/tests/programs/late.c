// A library that a running program loads late, and does these things with.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096ul

static void *kept[1000];

// `count` blocks of `size` bytes, every second one freed again.
__attribute__((noinline)) void late_blocks(unsigned long count, unsigned long size) {
    for (unsigned long i = 0; i < count; i++) kept[i % 1000] = malloc(size);
    for (unsigned long i = 0; i < count; i += 2) free(kept[i % 1000]);
}

// A mapping of which the first half is touched; it stays.
__attribute__((noinline)) int late_pages(unsigned long length) {
    volatile char *p = mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 1;
    madvise((void *)p, length, MADV_NOHUGEPAGE);
    for (unsigned long at = 0; at < length / 2; at += PAGE) p[at] = 1;
    return 0;
}
