// Touches 8 MiB, makes children by fork and by vfork, and executes itself.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc > 1) return atoi(argv[1]);
    char *memory = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, 8 << 20, MADV_NOHUGEPAGE);
    memset(memory, 1, 8 << 20);
    munmap(memory, 4 << 20);
    // Not page-aligned: it fails.
    munmap(memory + 1, 1);
    pid_t copy = fork();
    if (copy == 0) _exit(5);
    waitpid(copy, NULL, 0);
    pid_t shared = vfork();
    if (shared == 0) {
        execl("/proc/self/exe", argv[0], "6", NULL);
        _exit(1);
    }
    waitpid(shared, NULL, 0);
    execl("/proc/self/exe", argv[0], "7", NULL);
    return 1;
}
