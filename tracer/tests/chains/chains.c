// Each way to be on the stack, in C. `chains [PLUGIN]`.
#include "leaf.h"
#include <alloca.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

// As in main.rs.
enum chain {
    DEEP = 1, VARIABLE, ALIGNED, LARGE, TAIL, NORETURN, RAISED, SORT, THREAD, INLINED, FAULT, JIT,
    CLONE, CONTEXT, CONSTRUCTOR, INIT, ATEXIT, PLUGIN, RESOLVER,
};

FUNCTION void deep(int left, int chain) {
    volatile char local[40];
    local[left % 40] = 1;
    (void)local;
    if (left > 0) deep(left - 1, chain);
    else leaf(chain);
    KEEP;
}

FUNCTION void variable(int chain, size_t room) {
    char *local = alloca(room);
    memset(local, 1, room);
    sink = local;
    leaf(chain);
    KEEP;
}

FUNCTION void aligned(int chain) {
    char local[64] __attribute__((aligned(64)));
    sink = local;
    leaf(chain);
    KEEP;
}

FUNCTION void large(int chain) {
    char local[100000];
    sink = local;
    leaf(chain);
    KEEP;
}

// A jump: not on the stack.
FUNCTION void tail(int chain) { leaf(chain); }
FUNCTION void tailed(int chain) { tail(chain); KEEP; }

static jmp_buf back;
FUNCTION __attribute__((noreturn)) void never(int chain) {
    leaf(chain);
    longjmp(back, 1);
}
// Its last instruction is the call.
FUNCTION void to_never(int chain) { never(chain); }

FUNCTION void on_signal(int number) { leaf(number == SIGUSR1 ? RAISED : 0); KEEP; }
FUNCTION void signalled(void) { raise(SIGUSR1); KEEP; }

FUNCTION int compare(const void *a, const void *b) {
    leaf(SORT);
    return *(const int *)a - *(const int *)b;
}
FUNCTION void sorting(void) {
    int values[2] = {2, 1};
    qsort(values, 2, sizeof *values, compare);
    KEEP;
}

FUNCTION void *thread(void *unused) { leaf(THREAD); KEEP; return unused; }

static inline __attribute__((always_inline)) void inner(int chain) { leaf(chain); KEEP; }
static inline __attribute__((always_inline)) void middle(int chain) { inner(chain); KEEP; }
FUNCTION void inlining(int chain) { middle(chain); KEEP; }

// An instruction that faults, handled on a stack of its own.
static char *forbidden;
FUNCTION void on_fault(int number) {
    leaf(number == SIGSEGV ? FAULT : 0);
    if (mprotect(forbidden, 4096, PROT_READ | PROT_WRITE)) abort();
}
FUNCTION void faulting(void) {
    forbidden = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(volatile char *)forbidden = 1;
    KEEP;
}

// push %rbp; mov %rsp,%rbp; sub $16,%rsp; call *%rsi; leave; ret
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec,
                                     0x10, 0xff, 0xd6, 0xc9, 0xc3};
FUNCTION void jitted(int chain) {
    void *memory = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(memory, code, sizeof code);
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "a");
    if (!map || fprintf(map, "%lx %zx jit_code\n", (long)memory, sizeof code) < 0 || fclose(map))
        abort();
    ((void (*)(int, void (*)(int)))memory)(chain, leaf);
    KEEP;
}

static volatile int cloned_done;
FUNCTION int cloned(void *unused) {
    (void)unused;
    leaf(CLONE);
    cloned_done = 1;
    return 0;
}
FUNCTION void cloning(void) {
    size_t size = 1 << 20;
    char *stack = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cloned_done = 0;
    // It borrows this thread's local storage: nothing else must run here meanwhile.
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    if (clone(cloned, stack + size, flags, 0) < 0) abort();
    while (!cloned_done) syscall(SYS_sched_yield);
}

#ifdef __GLIBC__
static ucontext_t here, there;
FUNCTION void coroutine(void) { leaf(CONTEXT); KEEP; }
FUNCTION void switching(void) {
    static char stack[1 << 18];
    if (getcontext(&there)) abort();
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof stack;
    there.uc_link = &here;
    makecontext(&there, coroutine, 0);
    if (swapcontext(&here, &there)) abort();
    KEEP;
}
#endif

static int chosen(void) { return getenv("CHAINS") != 0; }
FUNCTION __attribute__((constructor)) void constructed(void) {
    if (!chosen()) return;
    prepare();
    leaf(CONSTRUCTOR);
    KEEP;
}
FUNCTION void initial(void) {
    if (!chosen()) return;
    prepare();
    leaf(INIT);
    KEEP;
}
// In the middle of _init, for which nobody writes unwind information.
__asm__(".pushsection .init,\"ax\",@progbits\n call initial\n .popsection");
FUNCTION void at_exit(void) { leaf(ATEXIT); KEEP; }

FUNCTION void plugin(void *library) {
    void (*run)(void (*)(int), int) = (void (*)(void (*)(int), int))dlsym(library, "plugin_run");
    run(leaf, PLUGIN);
    KEEP;
}
FUNCTION void resolve(void) { leaf(RESOLVER); KEEP; }
FUNCTION void resolving(void *library) {
    void (*call)(void (*)(void)) = (void (*)(void (*)(void)))dlsym(library, "plugin_call_chosen");
    call(resolve);
    KEEP;
}

FUNCTION void chains(int round) {
    deep(100, DEEP);
    variable(VARIABLE, 1000 + round * 3000);
    aligned(ALIGNED);
    large(LARGE);
    tailed(TAIL);
    if (!setjmp(back)) to_never(NORETURN);
    signalled();
    sorting();
    pthread_t other;
    if (pthread_create(&other, 0, thread, 0)) abort();
    pthread_join(other, 0);
    inlining(INLINED);
    faulting();
    jitted(JIT);
    cloning();
#ifdef __GLIBC__
    switching();
#endif
}

int main(int count, char **words) {
    if (count > 2 && !strcmp(words[1], "end")) return atoi(words[2]);
    static char stack[1 << 17];
    stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_signal};
    struct sigaction fault = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
    if (sigaltstack(&alternative, 0) || sigaction(SIGUSR1, &action, 0) ||
        sigaction(SIGSEGV, &fault, 0) || atexit(at_exit))
        abort();
    // Twice: the second time, the remembered stack serves.
    for (int round = 0; round < 2; round++) chains(round);
    if (count > 1) {
        void *library = dlopen(words[1], RTLD_LAZY);
        if (!library) abort();
        for (int round = 0; round < 2; round++) plugin(library);
        resolving(library);
    }
    return 0;
}
