/* Loads an allocator once it is told to, and uses it once it is told to; a System V segment too.
 *
 * late_allocator LIBRARY: a word on standard output at each step, a byte of standard input before it.
 * late_allocator.c built with -DLIBRARY and -shared is that library: an allocator with malloc and free. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#ifdef LIBRARY

static char *area, *end;

void *malloc(size_t size) {
    if (!area) {
        area = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        end = area;
    }
    end += (size + 15) & ~15ul;
    return end;
}

void free(void *block) {
    (void)block;
}

#else

static void *(*allocate)(size_t);

__attribute__((noinline)) static void thousand(void) {
    static void *volatile sink;
    for (int i = 0; i < 1000; i++) sink = allocate(100);
}

static void step(const char *word) {
    char byte;
    if (write(1, word, strlen(word)) < 0 || read(0, &byte, 1) != 1) _exit(2);
}

int main(int argc, char **argv) {
    (void)argc;
    int segment = shmget(IPC_PRIVATE, 5 << 20, IPC_CREAT | 0600);
    char *shared = shmat(segment, 0, 0);
    if (shared == (char *)-1 || shmctl(segment, IPC_RMID, 0)) return 4;
    memset(shared, 1, 5 << 20);
    step("started\n");
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return 3;
    allocate = (void *(*)(size_t))dlsym(library, "malloc");
    step("loaded\n");
    thousand();
    return 0;
}

#endif
