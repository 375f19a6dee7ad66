/* The library of moved.c: maps, touches and allocates memory. Built with -DNAME=other it is
 * another file of the same layout, with another name where `innermost` was. */
#include <stdlib.h>
#include <sys/mman.h>

#ifndef NAME
#define NAME innermost
#endif

__attribute__((noinline)) int NAME(void) {
    char *area = mmap(0, 0x765000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) {
        return 4;
    }
    *(volatile char *)area = 1;
    void *volatile block = malloc(76543);
    return block ? 0 : 5;
}

int uses_memory(void) {
    int result = NAME();
    __asm__ volatile("");
    return result;
}
