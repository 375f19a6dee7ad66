// System calls made in the caller's own frame: libc's wrappers have none, and a walk along frame
// pointers that begins in them misses the function that called.
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define INLINE __attribute__((always_inline)) static inline

INLINE long raw(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return number;
}

INLINE void *raw_mmap(void *at, unsigned long length, int flags, int fd) {
    long p = raw(SYS_mmap, (long)at, length, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (p < 0 && p > -4096) abort();
    return (void *)p;
}
