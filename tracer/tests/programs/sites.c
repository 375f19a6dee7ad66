// Two sites that keep as many KiB as the first and the second argument say.
#include <stdlib.h>

#define SITE __attribute__((noinline)) static

SITE void *first_site(size_t kib) { return malloc(kib << 10); }
SITE void *second_site(size_t kib) { return malloc(kib << 10); }

int main(int argc, char **argv) {
    if (argc < 3) abort();
    void *volatile kept[2] = {first_site(atol(argv[1])), second_site(atol(argv[2]))};
    return kept[0] == 0;
}
