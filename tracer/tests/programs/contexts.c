// contexts N: allocates N blocks of 1,000 bytes inside a coroutine of makecontext(3), which nobody
// called.
#include <stdlib.h>
#include <ucontext.h>

static ucontext_t outside, inside;
static char stack[65536];

__attribute__((noinline)) void *one_block(void) {
    char *block = malloc(1000);
    *(volatile char *)block = 1;
    return block;
}

static void coroutine(void) {
    for (;;) {
        one_block();
        swapcontext(&inside, &outside);
    }
}

int main(int count, char **words) {
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = sizeof stack;
    makecontext(&inside, coroutine, 0);
    for (int n = atoi(words[count - 1]); n > 0; n--) swapcontext(&outside, &inside);
    return 0;
}
