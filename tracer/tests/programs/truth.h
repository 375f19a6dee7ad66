// What truth programs share: sites that reserve, functions that touch, and how the truth is told.
// A program reserves and touches memory in one particular way (CASE, its first argument), then
// prints, at its peak, what each site reserved and what of it is resident:
//
//     reserved SITE BYTES
//     resident SITE BYTES
//     touched SITE BYTES
//
// Where the kernel decides how much one touch brings (huge pages, fault-around), the truth is
// the Rss that smaps gives for the mapping; everywhere else it follows from the program.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1ul << 20)
#define PAGE 4096ul
#define SITE __attribute__((noinline))

#include "syscall.h"
#define NEED(what) do { if (!(what)) { perror(#what); _exit(3); } } while (0)

static char line[1 << 16];
static size_t used;

// Collected first and written at the end, so that saying it is not part of it.
static void say(const char *what, const char *site, size_t bytes) {
    used += snprintf(line + used, sizeof line - used, "%s %s %zu\n", what, site, bytes);
}

#define map(length, flags) raw_mmap(0, length, MAP_PRIVATE | MAP_ANONYMOUS | (flags), -1)

// Macros, so that the function that touches is the one that is named.
#define write_pages(p, length) do { \
    volatile char *at_ = (volatile char *)(p), *end_ = at_ + (length); \
    for (; at_ < end_; at_ += PAGE) *at_ = 1; \
} while (0)

#define read_pages(p, length) do { \
    volatile char *at_ = (volatile char *)(p), *end_ = at_ + (length); \
    for (; at_ < end_; at_ += PAGE) (void)*at_; \
} while (0)

// Bytes of [p, p + length) that are present, by pagemap: smaps would show mappings that adjoin as one,
// which on some kernels a fresh one does with its neighbour. No page of it is the shared zero page.
static size_t rss(char *p, size_t length) {
    static unsigned long words[512];
    int fd = open("/proc/self/pagemap", O_RDONLY);
    NEED(fd >= 0);
    size_t present = 0, pages = length >> 12, first = (uintptr_t)p >> 12;
    for (size_t done = 0; done < pages;) {
        size_t n = pages - done < 512 ? pages - done : 512;
        ssize_t got = pread(fd, words, 8 * n, 8 * (first + done));
        NEED(got > 0 && got % 8 == 0);
        for (ssize_t i = 0; i < got / 8; i++) present += words[i] >> 63;
        done += got / 8;
    }
    close(fd);
    return present << 12;
}

// A file of the given size, unlinked at once.
static int file(size_t size) {
    char name[] = "truth-XXXXXX";
    int fd = mkstemp(name);
    NEED(fd >= 0);
    unlink(name);
    char block[64 << 10];
    memset(block, 7, sizeof block);
    for (size_t at = 0; at < size; at += sizeof block) NEED(write(fd, block, sizeof block) == sizeof block);
    NEED(fsync(fd) == 0);
    return fd;
}

SITE static char *site_a(size_t length, int flags) { return map(length, flags); }
SITE static char *site_b(size_t length, int flags) { return map(length, flags); }
SITE static void touch_a(char *p, size_t length) { write_pages(p, length); }
SITE static void touch_b(char *p, size_t length) { write_pages(p, length); }
SITE static void touch_by_kernel(int fd, char *p, size_t length) {
    for (size_t at = 0; at < length; at += MIB) NEED(raw(SYS_read, fd, (long)(p + at), MIB, 0, 0, 0) == (long)MIB);
}

// The pages are found by a look into pagemap, which comes some 20 ms after what made it due
// (commands/checks.rs): this is fifty times as long. A machine that emulates its processor needs more, for
// looks may take no more than a fiftieth of one.
static void linger(void) {
    const char *told = getenv("TRUTH_LINGER_MS");
    NEED(usleep(1000 * (told ? atoi(told) : 1000)) == 0);
}

struct truth { const char *name; void (*run)(void); };
#define CASE(name) {#name, name}

// Runs the case of that name, and prints what it said.
static int tell(const struct truth *cases, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, cases[i].name)) continue;
        cases[i].run();
        return write(1, line, used) == (ssize_t)used ? 0 : 3;
    }
    return 2;
}
