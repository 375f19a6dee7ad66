// Two builds of one program: with -DLATER a site is added, one makes twice as much, one has moved by
// forty lines, one touches what it only reserved; the others do what they did.
#include <stdlib.h>
#include <string.h>

#define KIB (1ul << 10)
#define SITE __attribute__((noinline)) static

SITE void *same(void) { return calloc(3, 1000); }
SITE void *doubled(void) {
#ifdef LATER
    return malloc(2000 * KIB);
#else
    return malloc(1000 * KIB);
#endif
}
SITE void *touched_later(void) {
    char *p = malloc(4096 * KIB);
    if (!p) abort();
#ifdef LATER
    memset(p, 1, 4096 * KIB);
#endif
    return p;
}
#ifdef LATER
SITE void *added(void) { return malloc(700 * KIB); }
#line 70
#endif
SITE void *moved(void) { return malloc(300 * KIB); }

int main(void) {
    void *volatile kept[5] = {same(), doubled(), touched_later(), moved()};
#ifdef LATER
    kept[4] = added();
#endif
    return kept[0] == 0;
}
