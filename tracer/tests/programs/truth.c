// truth CASE: pages that come by a touch or by a call, and leave by the calls that say which.
#include "truth.h"

static void first_write(void) {
    char *p = site_a(64 * MIB, 0);
    touch_a(p + 5 * MIB, 8 * MIB);
    say("reserved", "site_a", 64 * MIB);
    say("resident", "site_a", 8 * MIB);
    say("touched", "touch_a", 8 * MIB);
}

static void zero_reads(void) {
    char *p = site_a(64 * MIB, 0);
    read_pages(p, 16 * MIB);
    touch_a(p, 4 * MIB);
    say("reserved", "site_a", 64 * MIB);
    say("resident", "site_a", 4 * MIB);
    say("touched", "touch_a", 4 * MIB);
}

static void kernel_read(void) {
    char *p = site_a(32 * MIB, 0);
    int fd = open("/dev/zero", O_RDONLY);
    NEED(fd >= 0);
    touch_by_kernel(fd, p, 8 * MIB);
    say("reserved", "site_a", 32 * MIB);
    say("resident", "site_a", 8 * MIB);
    say("touched", "touch_by_kernel", 8 * MIB);
}

static void populate(void) {
    site_a(16 * MIB, MAP_POPULATE);
    say("reserved", "site_a", 16 * MIB);
    say("resident", "site_a", 16 * MIB);
    say("touched", "site_a", 16 * MIB);
}

SITE static void touch_by_mlock(char *p, size_t length) { NEED(raw(SYS_mlock, (long)p, length, 0, 0, 0, 0) == 0); }

static void locked(void) {
    char *p = site_a(16 * MIB, 0);
    touch_by_mlock(p + 2 * MIB, 4 * MIB);
    say("reserved", "site_a", 16 * MIB);
    say("resident", "site_a", 4 * MIB);
    say("touched", "touch_by_mlock", 4 * MIB);
}

static void direct_io(void) {
    int fd = file(4 * MIB);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int direct = open(path, O_RDONLY | O_DIRECT);
    NEED(direct >= 0);
    char *p = site_a(16 * MIB, 0);
    touch_by_kernel(direct, p, 4 * MIB);
    say("reserved", "site_a", 16 * MIB);
    say("resident", "site_a", 4 * MIB);
    say("touched", "touch_by_kernel", 4 * MIB);
}

static void huge_pages(void) {
    char *p = site_a(34 * MIB, 0);
    char *aligned = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
    NEED(madvise(aligned, 32 * MIB, MADV_HUGEPAGE) == 0);
    for (int i = 0; i < 8; i++) touch_a(aligned + 2 * i * 2 * MIB, PAGE);
    size_t resident = rss(p, 34 * MIB);
    say("reserved", "site_a", 34 * MIB);
    say("resident", "site_a", resident);
    say("touched", "touch_a", resident);
}

static void huge_tlb(void) {
    char *p = site_a(8 * MIB, MAP_HUGETLB);
    for (int i = 0; i < 2; i++) touch_a(p + i * 2 * MIB, PAGE);
    site_b(4 * MIB, MAP_HUGETLB | MAP_POPULATE);
    touch_b(map(8 * MIB, 0), 4 * MIB);
    linger(); // the kernel does not count them as resident, and a look into pagemap must not
    say("reserved", "site_a", 8 * MIB);
    say("reserved", "site_b", 4 * MIB);
    say("resident", "site_a", 0);
    say("resident", "site_b", 0);
    say("resident", "huge_tlb", 4 * MIB);
    NEED(munmap(p, 8 * MIB) == 0);
    site_a(4 * MIB, MAP_HUGETLB | MAP_POPULATE); // no more than before
}

static void huge_split(void) {
    char *p = site_a(10 * MIB, 0);
    char *aligned = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
    NEED(madvise(aligned, 8 * MIB, MADV_HUGEPAGE) == 0);
    touch_a(aligned, 8 * MIB);
    NEED(madvise(aligned + MIB, 2 * MIB, MADV_DONTNEED) == 0);
    touch_b(site_b(16 * MIB, 0), 12 * MIB); // the peak: what the split left, and 12
    say("reserved", "site_a", 10 * MIB);
    say("resident", "site_a", rss(p, 10 * MIB));
    say("resident", "site_b", 12 * MIB);
}

static void locked_all(void) {
    char *p = site_a(16 * MIB, 0);
    NEED(mlockall(MCL_CURRENT) == 0);
    NEED(munlockall() == 0);
    linger();
    say("reserved", "site_a", 16 * MIB);
    say("resident", "site_a", rss(p, 16 * MIB));
}

SITE static char *site_file(int fd, size_t length) {
    char *p = raw_mmap(0, length, MAP_PRIVATE, fd);
    return p;
}
SITE static void touch_by_read(char *p, size_t length) { read_pages(p, length); }

static void private_file(void) {
    int fd = file(16 * MIB);
    char *p = site_file(fd, 16 * MIB);
    touch_by_read(p, 8 * MIB);
    touch_a(p, 2 * MIB); // copies on write: still resident once
    say("resident", "site_file", rss(p, 16 * MIB));
}

static void shared(void) {
    char *p = raw_mmap(0, 16 * MIB, MAP_SHARED | MAP_ANONYMOUS, -1);
    touch_a(p + MIB, 4 * MIB);
    say("reserved", "shared", 16 * MIB);
    say("resident", "shared", 4 * MIB);
    say("touched", "touch_a", 4 * MIB);
}

static void memfd(void) {
    int fd = memfd_create("truth", 0);
    NEED(fd >= 0 && ftruncate(fd, 16 * MIB) == 0);
    char *p = raw_mmap(0, 16 * MIB, MAP_SHARED, fd);
    touch_a(p + MIB, 4 * MIB);
    say("resident", "memfd", rss(p, 16 * MIB));
}

static void system_v(void) {
    int other = shmget(IPC_PRIVATE, MIB, IPC_CREAT | 0600);
    NEED(other >= 0);
    char *gone = (char *)raw(SYS_shmat, other, 0, 0, 0, 0, 0);
    NEED(shmctl(other, IPC_RMID, 0) == 0 && (long)gone > 0);
    NEED(raw(SYS_shmdt, (long)gone, 0, 0, 0, 0, 0) == 0);
    int id = shmget(IPC_PRIVATE, 16 * MIB, IPC_CREAT | 0600);
    NEED(id >= 0);
    char *p = (char *)raw(SYS_shmat, id, 0, 0, 0, 0, 0);
    NEED(shmctl(id, IPC_RMID, 0) == 0 && (long)p > 0);
    touch_a(p + MIB, 4 * MIB);
    char *q = site_b(16 * MIB, 0);
    touch_b(q, 2 * MIB);
    say("reserved", "system_v", 16 * MIB);
    say("resident", "system_v", 4 * MIB);
    say("resident", "site_b", 2 * MIB);
    // Left attached: what VmHWM had been before a release the kernel knows but roughly.
    linger(); // the length is asked for while it is attached
}

static void forked(void) {
    char *p = site_a(16 * MIB, 0);
    touch_a(p, 8 * MIB);
    int ready[2], go[2];
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    pid_t child = fork();
    char byte = 0;
    if (child == 0) {
        char *own = site_b(8 * MIB, 0);
        touch_b(p, 4 * MIB); // copies what it inherited: no more than before
        touch_b(own, 2 * MIB);
        NEED(write(ready[1], &byte, 1) == 1);
        NEED(read(go[0], &byte, 1) == 1);
        _exit(0);
    }
    NEED(child > 0 && read(ready[0], &byte, 1) == 1);
    // The peak: both live.
    say("reserved", "site_a", 2 * 16 * MIB);
    say("resident", "site_a", 2 * 8 * MIB);
    say("reserved", "site_b", 8 * MIB);
    say("resident", "site_b", 2 * MIB);
    NEED(write(go[1], &byte, 1) == 1);
    NEED(waitpid(child, 0, 0) == child);
}

SITE static void touch_stack(void) {
    volatile char deep[4 * MIB];
    write_pages((char *)deep, sizeof deep);
}

static void stack_growth(void) {
    touch_stack();
    say("touched", "touch_stack", 4 * MIB);
}

static void dont_need(void) {
    char *p = site_a(32 * MIB, 0);
    touch_a(p, 16 * MIB);
    NEED(madvise(p + 4 * MIB, 8 * MIB, MADV_DONTNEED) == 0);
    char *q = site_b(32 * MIB, 0);
    touch_b(q, 24 * MIB); // the peak: 8 + 24
    say("reserved", "site_a", 32 * MIB);
    say("resident", "site_a", 8 * MIB);
    say("resident", "site_b", 24 * MIB);
    say("touched", "touch_a", 8 * MIB);
    say("touched", "touch_b", 24 * MIB);
}

static void freed_lazily(void) {
    char *p = site_a(16 * MIB, 0);
    touch_a(p, 8 * MIB);
    NEED(madvise(p, 4 * MIB, MADV_FREE) == 0); // stays resident until memory is short
    say("reserved", "site_a", 16 * MIB);
    say("resident", "site_a", rss(p, 16 * MIB));
}

static void removed(void) {
    char *p = raw_mmap(0, 16 * MIB, MAP_SHARED | MAP_ANONYMOUS, -1);
    touch_a(p, 8 * MIB);
    NEED(madvise(p + 2 * MIB, 4 * MIB, MADV_REMOVE) == 0);
    touch_b(site_b(16 * MIB, 0), 12 * MIB);
    say("resident", "removed", 4 * MIB);
    say("resident", "site_b", 12 * MIB);
}

static void unmapped_in_part(void) {
    char *p = site_a(64 * MIB, 0);
    touch_a(p, 32 * MIB);
    NEED(munmap(p + 8 * MIB, 16 * MIB) == 0);
    touch_b(site_b(64 * MIB, 0), 48 * MIB);
    say("reserved", "site_a", 48 * MIB);
    say("resident", "site_a", 16 * MIB);
    say("reserved", "site_b", 64 * MIB);
    say("resident", "site_b", 48 * MIB);
}

SITE static void site_fixed(char *p, size_t length) {
    NEED(raw_mmap(p, length, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1) == p);
}

static void mapped_over(void) {
    char *p = site_a(64 * MIB, 0);
    touch_a(p, 16 * MIB);
    site_fixed(p + 4 * MIB, 8 * MIB);
    touch_b(p + 4 * MIB, 2 * MIB);
    touch_b(site_b(64 * MIB, 0), 32 * MIB);
    say("reserved", "site_a", 56 * MIB);
    say("resident", "site_a", 8 * MIB);
    say("reserved", "site_fixed", 8 * MIB);
    say("resident", "site_fixed", 2 * MIB);
    say("resident", "site_b", 32 * MIB);
}

SITE static char *site_remap(char *p, size_t from, size_t to, int flags) {
    long q = raw(SYS_mremap, (long)p, from, to, flags, 0, 0);
    NEED(q > 0);
    return (char *)q;
}

static void remapped(void) {
    char *p = site_a(8 * MIB, 0);
    touch_a(p, 4 * MIB);
    p = site_remap(p, 8 * MIB, 64 * MIB, MREMAP_MAYMOVE);
    touch_b(p + 32 * MIB, 8 * MIB);
    p = site_remap(p, 64 * MIB, 48 * MIB, MREMAP_MAYMOVE);
    touch_b(p + 40 * MIB, 2 * MIB);
    say("touched", "touch_a", 4 * MIB);
    say("touched", "touch_b", 10 * MIB);
}

static void break_both_ways(void) {
    char *p = (char *)raw(SYS_brk, 0, 0, 0, 0, 0, 0);
    NEED(raw(SYS_brk, (long)p + 16 * MIB, 0, 0, 0, 0, 0) == (long)p + (long)(16 * MIB));
    touch_a(p, 8 * MIB);
    NEED(raw(SYS_brk, (long)p + 4 * MIB, 0, 0, 0, 0, 0) == (long)p + (long)(4 * MIB));
    touch_b(site_b(32 * MIB, 0), 16 * MIB);
    say("reserved", "break_both_ways", 4 * MIB);
    say("resident", "break_both_ways", 4 * MIB);
    say("resident", "site_b", 16 * MIB);
}

static void protected(void) {
    char *p = site_a(32 * MIB, 0);
    touch_a(p, 8 * MIB);
    NEED(mprotect(p + 2 * MIB, 4 * MIB, PROT_READ) == 0);
    NEED(mprotect(p + 16 * MIB, 4 * MIB, PROT_NONE) == 0);
    touch_b(p + 24 * MIB, 2 * MIB);
    say("reserved", "site_a", 32 * MIB);
    say("resident", "site_a", 10 * MIB);
}

SITE static char *site_malloc(size_t size) { char *p = malloc(size); NEED(p); return p; }
SITE static char *site_calloc(size_t size) { char *p = calloc(1, size); NEED(p); return p; }

static void small_blocks(void) {
    enum { COUNT = 100000 };
    static char *mine[COUNT], *theirs[COUNT];
    for (int i = 0; i < COUNT; i++) {
        mine[i] = site_malloc(120);
        memset(mine[i], 1, 120);
        theirs[i] = site_calloc(120);
    }
    say("reserved", "site_malloc", 120ul * COUNT);
    say("reserved", "site_calloc", 120ul * COUNT);
    say("resident", "site_malloc", 120ul * COUNT);
    say("resident", "site_calloc", 120ul * COUNT);
}

static void large_blocks(void) {
    char *p = site_malloc(64 * MIB), *q = site_calloc(64 * MIB);
    touch_a(p + PAGE, 8 * MIB);
    touch_b(q + PAGE, 4 * MIB);
    say("reserved", "site_malloc", 64 * MIB);
    say("reserved", "site_calloc", 64 * MIB);
    say("resident", "site_malloc", 8 * MIB);
    say("resident", "site_calloc", 4 * MIB);
}

static void *toucher(void *p) {
    touch_a(p, 4 * MIB);
    return 0;
}

static void threads(void) {
    pthread_t thread[4];
    char *p = site_a(64 * MIB, 0);
    for (int i = 0; i < 4; i++) NEED(!pthread_create(&thread[i], 0, toucher, p + i * 16 * MIB));
    for (int i = 0; i < 4; i++) pthread_join(thread[i], 0);
    say("reserved", "site_a", 64 * MIB);
    say("resident", "site_a", 16 * MIB);
    say("touched", "touch_a", 16 * MIB);
}

static void collapsed(void) {
    char *p = site_a(10 * MIB, 0);
    char *aligned = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
    touch_a(aligned, MIB);
    touch_a(aligned + 2 * MIB, MIB);
    NEED(madvise(aligned, 4 * MIB, 25 /* MADV_COLLAPSE */) == 0);
    say("reserved", "site_a", 10 * MIB);
    say("resident", "site_a", rss(p, 10 * MIB));
    say("touched", "touch_a", 2 * MIB);
    say("touched", "collapsed", 2 * MIB);
}

// khugepaged is in a hurry here: see the test.
static void collapsed_later(void) {
    char *p = site_a(10 * MIB, 0);
    char *aligned = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
    for (int i = 0; i < 4; i++) touch_a(aligned + i * 2 * MIB, MIB);
    NEED(madvise(aligned, 8 * MIB, MADV_HUGEPAGE) == 0);
    for (int i = 0; i < 3000 && rss(p, 10 * MIB) < 8 * MIB; i++) usleep(10000);
    linger();
    say("reserved", "site_a", 10 * MIB);
    say("resident", "site_a", rss(p, 10 * MIB));
    say("touched", "touch_a", 4 * MIB);
    say("touched", "[khugepaged]", rss(p, 10 * MIB) - 4 * MIB);
}

static void remapped_over(void) {
    char *p = site_a(8 * MIB, 0), *q = site_b(16 * MIB, 0);
    touch_a(p, 4 * MIB);
    touch_b(q, 16 * MIB);
    NEED(raw(SYS_mremap, (long)p, 8 * MIB, 8 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, (long)q, 0) == (long)q);
    char *r = (char *)raw(SYS_mremap, (long)q, 8 * MIB, 8 * MIB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0, 0);
    NEED((long)r > 0);
    touch_b(q, 2 * MIB); // the old place, empty
    touch_b(site_b(32 * MIB, 0), 16 * MIB);
    say("resident", "site_a", 4 * MIB + 2 * MIB);
    say("resident", "site_b", 8 * MIB + 16 * MIB);
    say("touched", "touch_a", 4 * MIB);
    say("touched", "touch_b", 26 * MIB);
}

static void swapped_out(void) {
    char *p = site_a(32 * MIB, 0);
    touch_a(p, 16 * MIB);
    NEED(madvise(p, 8 * MIB, MADV_PAGEOUT) == 0);
    size_t resident = rss(p, 32 * MIB); // now: the next mapping adjoins, and becomes one with it
    NEED(8 * MIB <= resident && resident < 10 * MIB);
    touch_b(site_b(64 * MIB, 0), 32 * MIB);
    say("reserved", "site_a", 32 * MIB);
    say("resident", "site_a", resident);
    say("resident", "site_b", 32 * MIB);
    linger();
}

static void paged_out(void) {
    int fd = file(16 * MIB);
    char *p = site_file(fd, 16 * MIB);
    touch_by_read(p, 16 * MIB);
    madvise(p, 8 * MIB, MADV_PAGEOUT); // clean file pages: reclaimed if the kernel agrees
    touch_a(site_a(64 * MIB, 0), 32 * MIB);
    say("resident", "site_file", rss(p, 16 * MIB));
    say("resident", "site_a", 32 * MIB);
    linger();
}

static const struct truth cases[] = {
    CASE(first_write), CASE(zero_reads), CASE(kernel_read), CASE(populate), CASE(locked),
    CASE(locked_all),
    CASE(direct_io), CASE(huge_pages), CASE(huge_tlb), CASE(huge_split), CASE(private_file), CASE(shared),
    CASE(memfd), CASE(system_v), CASE(forked), CASE(stack_growth), CASE(dont_need), CASE(freed_lazily),
    CASE(removed), CASE(unmapped_in_part), CASE(mapped_over), CASE(remapped),
    CASE(break_both_ways), CASE(protected), CASE(small_blocks), CASE(large_blocks),
    CASE(threads), CASE(paged_out), CASE(collapsed), CASE(collapsed_later),
    CASE(remapped_over), CASE(swapped_out),
};

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "exec")) {
        // What the old image held must be in neither of the new one's numbers.
        touch_a(site_a(64 * MIB, 0), 2 * MIB);
        execl("/proc/self/exe", argv[0], argv[2], (char *)0);
        _exit(3);
    }
    return argc == 2 ? tell(cases, sizeof cases / sizeof *cases, argv[1]) : 2;
}
