// Allocates and frees as often as told, and tells nobody.
#include <stdlib.h>

int main(int argc, char **argv) {
    (void)argc;
    for (long i = 0; i < atol(argv[1]); i++) {
        void *volatile block = malloc(64);
        free(block);
    }
    return 0;
}
