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

// Rss of all mappings within [p, p + length), by smaps; read without stdio's allocations.
static size_t rss(char *p, size_t length) {
    static char text[1 << 20];
    int fd = open("/proc/self/smaps", O_RDONLY);
    size_t size = 0, sum = 0;
    ssize_t n;
    NEED(fd >= 0);
    while ((n = read(fd, text + size, sizeof text - 1 - size)) > 0) size += n;
    close(fd);
    text[size] = 0;
    int inside = 0;
    for (char *at = text; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : at) {
        unsigned long from, to, kb;
        if (sscanf(at, "%lx-%lx ", &from, &to) == 2)
            inside = from >= (uintptr_t)p && to <= (uintptr_t)p + length;
        else if (inside && sscanf(at, "Rss: %lu kB", &kb) == 1)
            sum += kb << 10;
    }
    return sum;
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
// (commands/checks.rs): this is fifty times as long.
static void linger(void) { NEED(usleep(1000000) == 0); }

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
