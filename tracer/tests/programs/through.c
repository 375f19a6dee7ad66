// through LIBRARY N: loads it, and allocates N blocks of 100,000 bytes by a call through it, from
// a stack of 40,000 bytes.
#include <dlfcn.h>
#include <stdlib.h>

__attribute__((noinline)) void one_block(void) {
    char *block = malloc(100000);
    *(volatile char *)block = 1;
    free(block);
}

int main(int count, char **words) {
    volatile char deep[40000];
    deep[count] = 1;
    void *library = dlopen(words[1], RTLD_NOW);
    if (!library) return 1;
    void (*through)(void (*)(void));
    *(void **)&through = dlsym(library, "through_huge");
    for (int n = atoi(words[2]); n > 0; n--) through(one_block);
    return deep[count] != 1;
}
