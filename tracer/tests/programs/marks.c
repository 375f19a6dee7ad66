// What happens before, between and after two marks.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEPT = 40, MADE = 100, SMALL = 1000, MIB = 1 << 20 };

static void *touched(size_t size) {
    void *block = malloc(size);
    if (block) memset(block, 1, size);
    return block;
}

int main(void) {
    void *volatile before = touched(4 * MIB);
    free(touched(64 * MIB));
    // Of files there are others.
    access("tracer-mark", F_OK);
    access("/tracer-mark:no", F_OK);
    access((const char *)8, F_OK);
    access("tracer-mark:begin", F_OK);
    void *blocks[MADE];
    for (int i = 0; i < MADE; i++) blocks[i] = malloc(SMALL);
    for (int i = KEPT; i < MADE; i++) free(blocks[i]);
    free(touched(8 * MIB));
    access("tracer-mark:end [1]", F_OK);
    for (int i = 0; i < 10; i++) free(blocks[i]);
    for (int i = 0; i < 10; i++) blocks[i] = malloc(2 * SMALL);
    faccessat(AT_FDCWD, "tracer-mark:end [1]", R_OK, 0);
    void *volatile kept = blocks[0];
    return kept == 0;
}
