/* What chains.c loads: without frame pointers, and with a frame of its own. */
#include <stddef.h>
__attribute__((noinline)) static void inner(void (*run)(size_t), size_t size) {
  volatile char local[300];
  local[size % 300] = 1;
  run(size);
  local[0] = 2;
}
void plugin_run(void (*run)(size_t), size_t size) {
  inner(run, size);
  __asm__ volatile("" ::: "memory");
}
