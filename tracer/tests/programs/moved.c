/* Calls a library whose file is deleted, or replaced by another one, while it is mapped; then
 * lives until its standard input ends.
 *
 * moved LIBRARY             leaves the file where it is
 * moved LIBRARY -           deletes it
 * moved LIBRARY REPLACEMENT renames the replacement over it
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) static int calls_library(int (*uses_memory)(void)) {
    int result = uses_memory();
    /* No jump in place of the call. */
    __asm__ volatile("");
    return result;
}

int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    int (*uses_memory)(void) = (int (*)(void))dlsym(library, "uses_memory");
    if (argc > 2 && strcmp(argv[2], "-") == 0 && unlink(argv[1])) {
        return 2;
    }
    if (argc > 2 && strcmp(argv[2], "-") != 0 && rename(argv[2], argv[1])) {
        return 3;
    }
    int result = calls_library(uses_memory);
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    return result;
}
