/* A storm of small blocks at the end of a chain of twelve frames; prints the nanoseconds that a
 * pair of malloc and free takes. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile long sink;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

__attribute__((noinline)) static void storm(long pairs) {
    for (long i = 0; i < pairs; i++) {
        char *block = malloc(32 + (i & 63));
        *block = 1;
        sink += *block;
        free(block);
    }
}

__attribute__((noinline)) static void chain(int depth, long pairs) {
    if (depth == 0)
        storm(pairs);
    else
        chain(depth - 1, pairs);
    sink++;
}

int main(int argc, char **argv) {
    long pairs = argc > 1 ? atol(argv[1]) : 300000;
    chain(9, 1000);
    double start = now();
    chain(9, pairs);
    printf("%.1f\n", (now() - start) / pairs);
    return 0;
}
