// What TileDB's allocations pass through in libstdc++ and libc, which Debian builds without frame
// pointers: instances of strings and streams, operator new, and pthread_once (each task of the
// thread pool runs inside one, by std::call_once). These here have them, so that a walk along
// frame pointers gets to the stack's end. Linked into libtiledb.so, for its own use only:
// see docs/cost.md.
#include <cstdlib>
#include <fstream>
#include <new>
#include <pthread.h>
#include <sched.h>
#include <sstream>
#include <string>

template class std::basic_string<char>;
template class std::basic_stringbuf<char>;
template class std::basic_istringstream<char>;
template class std::basic_ostringstream<char>;
template class std::basic_stringstream<char>;

#pragma GCC diagnostic ignored "-Wattributes"
#define OURS __attribute__((visibility("hidden"), noinline))

static inline void* got(void* block) {
  if (!block) throw std::bad_alloc();
  return block;
}

OURS void* operator new(std::size_t n) { return got(std::malloc(n ? n : 1)); }
OURS void* operator new[](std::size_t n) { return got(std::malloc(n ? n : 1)); }
OURS void* operator new(std::size_t n, std::align_val_t a) {
  std::size_t to = static_cast<std::size_t>(a);
  n = n ? n : 1;
  return got(std::aligned_alloc(to, (n + to - 1) & ~(to - 1)));
}
OURS void* operator new[](std::size_t n, std::align_val_t a) {
  std::size_t to = static_cast<std::size_t>(a);
  n = n ? n : 1;
  return got(std::aligned_alloc(to, (n + to - 1) & ~(to - 1)));
}

// In place of pthread_once, by --wrap. 0: not called yet, 1: being called, 2: called.
extern "C" OURS int __wrap_pthread_once(pthread_once_t* control, void (*routine)(void)) {
  for (;;) {
    int seen = 0;
    if (__atomic_compare_exchange_n(control, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
      try {
        routine();
      } catch (...) {
        __atomic_store_n(control, 0, __ATOMIC_RELEASE);
        throw;
      }
      __atomic_store_n(control, 2, __ATOMIC_RELEASE);
      return 0;
    }
    if (seen == 2) return 0;
    sched_yield();
  }
}
