// inlined N: allocates N blocks of 1,000 bytes in a function that is inlined into another.
#include <stdlib.h>

static inline __attribute__((always_inline)) void inner(int size) {
    char *block = malloc(size);
    *(volatile char *)block = 1;
}

__attribute__((noinline)) void outer(int size) { inner(size - 1); }

int main(int count, char **words) {
    for (int n = atoi(words[count - 1]); n > 0; n--) outer(1001);
    return 0;
}
