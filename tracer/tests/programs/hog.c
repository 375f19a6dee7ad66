/* hog MIB: allocates and touches that many MiB, in steps of 1 MiB; says "done". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static void grow(void) {
    static void *volatile sink;
    char *block = malloc(1 << 20);
    if (!block) exit(3);
    memset(block, 1, 1 << 20);
    sink = block;
}

int main(int argc, char **argv) {
    for (int left = argc > 1 ? atoi(argv[1]) : 1; left > 0; left--) grow();
    puts("done");
    return 0;
}
