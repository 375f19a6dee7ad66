// The innermost end of every chain: each kind of probe once, with sizes and exit statuses of the
// chain's own, by which the test finds it.
#ifndef LEAF_H
#define LEAF_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEP __asm__ volatile("" ::: "memory")
#define FUNCTION __attribute__((noinline, noclone, used))

// As in main.rs. Less than what musl's allocator maps on its own, which it would not clear.
enum probe { MALLOC, CALLOC, MAP, TOUCH, READ, RECYCLED };
#define MARK(chain, probe) ((size_t)(100000 + (chain) * 100 + (probe) * 15))

static void *volatile sink;
static int zeros = -1;

static void prepare(void) {
    zeros = open("/dev/zero", O_RDONLY);
    // One fault brings one page.
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
#ifdef __GLIBC__
    // Freed blocks stay in the heap, to be cleared when they are used again.
    mallopt(M_MMAP_THRESHOLD, 1 << 24);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

FUNCTION static void allocates(int chain) { sink = malloc(MARK(chain, MALLOC)); KEEP; }

// Clears a block that was never touched: the faults come inside calloc, while its return probe
// stands on the stack in place of the return address.
FUNCTION static void clears(int chain) {
    void *volatile block = malloc(MARK(chain, RECYCLED));
    void *volatile barrier = malloc(100);
    free(block);
#ifdef __GLIBC__
    sink = calloc(1, MARK(chain, CALLOC));
#else
    // musl's calloc has touched all that it clears. Here it is the copy that brings pages.
    sink = realloc(malloc(MARK(chain, CALLOC) / 2), MARK(chain, CALLOC));
#endif
    free(barrier);
    KEEP;
}

static char *fresh(int chain, enum probe probe) {
    void *memory = mmap(0, MARK(chain, probe), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) abort();
    return (char *)memory;
}

FUNCTION static void maps(int chain) { sink = fresh(chain, MAP); KEEP; }

FUNCTION static void touches(char *memory) { *(volatile char *)memory = 1; KEEP; }

FUNCTION static void reads(char *memory) {
    if (read(zeros, memory, 1) != 1) abort();
    KEEP;
}

// Ends with the chain's number.
FUNCTION static void forks(int chain) {
    pid_t child = fork();
    if (!child) _exit(chain);
    if (waitpid(child, 0, 0) != child) abort();
    KEEP;
}

// Ends with 100 more.
FUNCTION static void executes(int chain) {
    pid_t child = fork();
    if (!child) {
        char status[16];
        snprintf(status, sizeof status, "%d", 100 + chain);
        char *words[] = {(char *)"chains", (char *)"end", status, 0}, *none[] = {0};
        execve("/proc/self/exe", words, none);
        _exit(255);
    }
    if (waitpid(child, 0, 0) != child) abort();
    KEEP;
}

// The child runs on this very stack, and ends with 50 more.
FUNCTION static void vforks(int chain) {
    pid_t child = vfork();
    if (!child) _exit(50 + chain);
    if (waitpid(child, 0, 0) != child) abort();
    KEEP;
}

FUNCTION static void leaf(int chain) {
    allocates(chain);
    clears(chain);
    maps(chain);
    touches(fresh(chain, TOUCH));
    reads(fresh(chain, READ));
    forks(chain);
    executes(chain);
    vforks(chain);
    KEEP;
}
#endif
