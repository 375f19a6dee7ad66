/* Each way to be on the stack, ending in malloc (or mmap, or a page fault) with a
 * size of its own, by which the test finds it. At the end the program writes its
 * memory map to argv[1]. */
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEEP __asm__ volatile("" ::: "memory")
#define FUNCTION __attribute__((noinline, noclone, used))

void *volatile sink;

FUNCTION void leaf(size_t size) { sink = malloc(size); KEEP; }

FUNCTION void deep(int left, size_t size) {
  volatile char local[40];
  local[left % 40] = 1;
  (void)local;
  if (left > 0) deep(left - 1, size);
  else leaf(size);
  KEEP;
}

FUNCTION void variable(size_t size, size_t room) {
  char *local = alloca(room);
  memset(local, 1, room);
  sink = local;
  leaf(size);
  KEEP;
}

FUNCTION void aligned(size_t size) {
  char local[64] __attribute__((aligned(64)));
  sink = local;
  leaf(size);
  KEEP;
}

FUNCTION void large(size_t size) {
  char local[100000];
  sink = local;
  leaf(size);
  KEEP;
}

/* A jump: not on the stack. */
FUNCTION void tail(size_t size) { leaf(size); }
FUNCTION void tailed(size_t size) { tail(size); KEEP; }

static jmp_buf back;
FUNCTION __attribute__((noreturn)) void never(size_t size) {
  leaf(size);
  longjmp(back, 1);
}
/* Its last instruction is the call. */
FUNCTION void to_never(size_t size) { never(size); }

FUNCTION void handler(int number) { leaf(1000000 + 6 + (number != SIGUSR1)); KEEP; }
FUNCTION void signalled(void) { raise(SIGUSR1); KEEP; }

FUNCTION int compare(const void *a, const void *b) {
  leaf(1000000 + 7);
  return *(const int *)a - *(const int *)b;
}
FUNCTION void sorting(void) {
  int values[2] = {2, 1};
  qsort(values, 2, sizeof *values, compare);
  KEEP;
}

FUNCTION void *thread(void *unused) { leaf(1000000 + 8); return unused; }

FUNCTION void mapping(size_t size) {
  sink = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  KEEP;
}

FUNCTION void plugin(const char *path) {
  void *library = dlopen(path, RTLD_NOW);
  if (!library) _exit(3);
  void (*run)(void (*)(size_t), size_t) = dlsym(library, "plugin_run");
  run(leaf, 1000000 + 10);
  KEEP;
}

int main(int count, char **arguments) {
  struct sigaction action = {.sa_handler = handler};
  sigaction(SIGUSR1, &action, 0);
  /* Twice: the second time, the remembered stack serves. */
  for (int round = 0; round < 2; round++) {
    deep(100, 1000000);
    variable(1000000 + 1, 1000 + round * 3000);
    aligned(1000000 + 2);
    large(1000000 + 3);
    tailed(1000000 + 4);
    if (!setjmp(back)) to_never(1000000 + 5);
    signalled();
    sorting();
    pthread_t other;
    if (pthread_create(&other, 0, thread, 0)) return 2;
    pthread_join(other, 0);
    mapping(1000000 + 9);
    if (count > 2) plugin(arguments[2]);
  }
  char buffer[65536];
  int from = open("/proc/self/maps", O_RDONLY);
  int to = open(arguments[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  for (ssize_t length; (length = read(from, buffer, sizeof buffer)) > 0;)
    if (write(to, buffer, length) != length) return 4;
  return 0;
}
