// System calls made in the caller's own frame: libc's wrappers have none, and a walk along frame
// pointers that begins in them misses the function that called. Macros, so that no inlined
// function is named in the caller's place.
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define raw(number, a, b, c, d, e, f) ({ \
    long result_ = (number); \
    register long r10_ __asm__("r10") = (long)(d); \
    register long r8_ __asm__("r8") = (long)(e); \
    register long r9_ __asm__("r9") = (long)(f); \
    __asm__ volatile("syscall" \
                     : "+a"(result_) \
                     : "D"((long)(a)), "S"((long)(b)), "d"((long)(c)), "r"(r10_), "r"(r8_), "r"(r9_) \
                     : "rcx", "r11", "memory"); \
    result_; \
})

#define raw_mmap(at, length, flags, fd) ({ \
    long mapped_ = raw(SYS_mmap, at, length, PROT_READ | PROT_WRITE, flags, fd, 0); \
    if (mapped_ < 0 && mapped_ > -4096) abort(); \
    (void *)mapped_; \
})
