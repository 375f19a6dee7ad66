// storm THREADS PAIRS: each thread makes PAIRS malloc/free pairs.
#include <pthread.h>
#include <stdlib.h>

static long pairs;

__attribute__((noinline)) static void *pair(long i) {
    void *volatile p = malloc(16 + i % 1000);
    free(p);
    return p;
}

static void *work(void *unused) {
    for (long i = 0; i < pairs; i++) pair(i);
    return unused;
}

int main(int argc, char **argv) {
    int threads = argc > 2 ? atoi(argv[1]) : 1;
    pthread_t thread[64];
    pairs = argc > 2 ? atol(argv[2]) : 1000;
    if (threads < 1 || threads > 64) return 2;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread[i], 0, work, 0)) return 1;
    for (int i = 0; i < threads; i++) pthread_join(thread[i], 0);
    return 0;
}
