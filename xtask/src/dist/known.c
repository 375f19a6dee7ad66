/* What the tracer of a distribution is tried on: 1,001 allocations, of which a thousand of a thousand
   bytes each are never freed. Its exit status is 7. */
#include <stdlib.h>
#include <string.h>

void *volatile kept;

int main(void)
{
    char *large = malloc(1 << 20);
    memset(large, 1, 1 << 20);
    kept = large;
    free(kept);
    for (int i = 0; i < 1000; i++)
        kept = malloc(1000);
    return 7;
}
