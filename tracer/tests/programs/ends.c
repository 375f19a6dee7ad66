// ends HOW: allocates 1,000 blocks, then ends in the way it is told to.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) static void thousand(void) {
    static void *volatile sink;
    for (int i = 0; i < 1000; i++) sink = malloc(100);
}

static void caught(int signal) {
    (void)signal;
    _exit(42);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "exit";
    thousand();
    if (!strcmp(how, "exit")) return argc > 2 ? atoi(argv[2]) : 0;
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "segv")) *(volatile int *)0 = 1;
    if (!strcmp(how, "kill")) kill(getpid(), SIGKILL);
    if (!strcmp(how, "catch")) signal(SIGINT, caught), signal(SIGTERM, caught);
    // Says that it is ready, then waits to be ended from outside.
    if (write(1, "ready\n", 6) < 0) abort();
    for (;;) pause();
}
