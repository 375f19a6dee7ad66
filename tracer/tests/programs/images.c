// images N: a second thread executes this program again, N times; each image allocates
// 1,000,003 bytes first thing, and the last one says how many there were.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char *self, left[16];

__attribute__((noinline)) void *block(void) {
    char *block = malloc(1000003);
    *(volatile char *)block = 1;
    return block;
}

static void *execute(void *unused) {
    execl(self, self, left, getenv("IMAGES"), (char *)NULL);
    return unused;
}

int main(int count, char **words) {
    block();
    self = words[0];
    int more = atoi(words[1]);
    if (count < 3) setenv("IMAGES", words[1], 1);
    if (more == 0) {
        printf("%d images\n", 1 + atoi(words[2]));
        return 0;
    }
    snprintf(left, sizeof left, "%d", more - 1);
    pthread_t thread;
    pthread_create(&thread, NULL, execute, NULL);
    pthread_join(thread, NULL);
    return 1;
}
