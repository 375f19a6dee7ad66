// Reserves much and touches little, by sites of known size.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "syscall.h"

#define MIB (1ul << 20)
#define SITE __attribute__((noinline)) static

SITE char *map_256_touch_32(void) {
    char *p = raw_mmap(0, 256 * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    return p;
}
SITE char *malloc_512_touch_16(void) {
    char *p = malloc(512 * MIB);
    if (!p) abort();
    return p;
}
SITE void touch_32(char *p) { memset(p, 1, 32 * MIB); }
SITE void touch_16(char *p) { memset(p + 100 * MIB, 1, 16 * MIB); }
// Goes before the peaks: must be in neither.
SITE void gone_before(void) {
    char *p = raw_mmap(0, 64 * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memset(p, 1, 8 * MIB);
    munmap(p, 64 * MIB);
}

int main(void) {
    gone_before();
    touch_32(map_256_touch_32());
    touch_16(malloc_512_touch_16());
    return 0;
}
