// unseen CASE [ARG]: pages of which no call and no fault says where they are or when they go, or only after
// the peak; and what a fork, a touch below a mapping, or an allocator's look-alike make of them.
#include "truth.h"
#include <linux/falloc.h>

static const char *argument;

// Gone by calls that name no range, or whose range nobody follows; the peak is what comes then.
SITE static char *site_shared(int fd, size_t length) { return raw_mmap(0, length, MAP_SHARED, fd); }

static int shared_file(size_t length) {
    int fd = memfd_create("unseen", 0);
    NEED(fd >= 0 && ftruncate(fd, length) == 0);
    return fd;
}

static void touch_more(void) {
    touch_b(site_b(64 * MIB, 0), 40 * MIB);
    linger();
    say("resident", "site_b", 40 * MIB);
    say("touched", "touch_b", 40 * MIB);
    say("touched", "touch_a", 0);
}

static void punched(void) {
    int fd = shared_file(32 * MIB);
    touch_a(site_shared(fd, 32 * MIB), 32 * MIB);
    NEED(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 32 * MIB) == 0);
    touch_more();
    say("resident", "site_shared", 0);
}

static void truncated(void) {
    int fd = shared_file(32 * MIB);
    touch_a(site_shared(fd, 32 * MIB), 32 * MIB);
    NEED(ftruncate(fd, 0) == 0);
    touch_more();
    say("resident", "site_shared", 0);
}

// One process for another, here for itself; before Linux 6.13 that was not allowed to discard.
static void advised_by_another(void) {
    char *p = site_a(32 * MIB, 0);
    touch_a(p, 32 * MIB);
    long self = raw(SYS_pidfd_open, getpid(), 0, 0, 0, 0, 0);
    struct { void *at; size_t length; } vector = {p, 32 * MIB};
    NEED(self >= 0);
    if (raw(440 /* process_madvise */, self, &vector, 1, MADV_DONTNEED, 0, 0) != (long)(32 * MIB))
        NEED(madvise(p, 32 * MIB, MADV_DONTNEED) == 0);
    touch_more();
    say("resident", "site_a", 0);
}

// Memory falls and grows again, less than ever before: what went in between must be looked for.
static void regrown(void) {
    touch_a(site_a(64 * MIB, 0), 64 * MIB);
    int fd = shared_file(32 * MIB);
    char *p = site_shared(fd, 32 * MIB);
    touch_a(p, 32 * MIB);
    NEED(ftruncate(fd, 0) == 0);
    touch_b(site_b(64 * MIB, 0), 34 * MIB);
    linger();
    say("resident", "site_a", 64 * MIB);
    say("resident", "site_shared", 0);
    say("resident", "site_b", 34 * MIB);
}

// What leaves after the peak was in it. Needs swap.
static void left_after_the_peak(void) {
    char *p = site_a(32 * MIB, 0);
    touch_a(p, 16 * MIB);
    touch_b(p + 16 * MIB, 8 * MIB);
    say("resident", "site_a", 24 * MIB);
    say("touched", "touch_a", 16 * MIB);
    say("touched", "touch_b", 8 * MIB);
    NEED(madvise(p, 24 * MIB, MADV_PAGEOUT) == 0);
    NEED(rss(p, 32 * MIB) < MIB);
    linger();
}

// In a group with a limit (the argument: its folder), with swap: all the time some go and some come.
static void within_a_limit(void) {
    char path[500], pid[20];
    snprintf(path, sizeof path, "%s/cgroup.procs", argument);
    int fd = open(path, O_WRONLY), length = snprintf(pid, sizeof pid, "%d", getpid());
    NEED(fd >= 0 && write(fd, pid, length) == length);
    char *p = site_a(96 * MIB, 0);
    for (int i = 0; i < 2; i++) touch_a(p, 96 * MIB);
}

// The peak is the call itself: all is given back when it has returned.
static void populated_and_gone(void) {
    char *p = site_a(32 * MIB, MAP_POPULATE);
    NEED(munmap(p, 32 * MIB) == 0);
    say("reserved", "site_a", 32 * MIB);
    say("resident", "site_a", 32 * MIB);
    say("touched", "site_a", 32 * MIB);
}

SITE static char *site_over(char *p, size_t length) {
    char *q = raw_mmap(p, length, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1);
    NEED(q == p);
    return q;
}

static void populated_over(void) {
    char *p = site_a(32 * MIB, 0);
    touch_a(p, 16 * MIB);
    NEED(munmap(site_over(p, 32 * MIB), 32 * MIB) == 0);
    say("resident", "site_a", 0);
    say("resident", "site_over", 32 * MIB);
    say("touched", "site_over", 32 * MIB);
}

SITE static long site_break(size_t length) {
    long old = raw(SYS_brk, 0, 0, 0, 0, 0, 0);
    NEED(raw(SYS_brk, old + length, 0, 0, 0, 0, 0) == (long)(old + length));
    return old;
}

SITE static char *site_remap(char *p, size_t from, size_t to) {
    long q = raw(SYS_mremap, p, from, to, MREMAP_MAYMOVE, 0, 0);
    NEED(q > 0);
    return (char *)q;
}

// Whatever is mapped comes with its pages; the peak is the last of these calls.
static void locked_in_future(void) {
    NEED(mlockall(MCL_FUTURE) == 0);
    char *p = site_a(8 * MIB, 0);
    long old = site_break(8 * MIB);
    char *q = site_remap(site_b(4 * MIB, 0), 4 * MIB, 16 * MIB);
    NEED(munmap(q, 16 * MIB) == 0 && munmap(p, 8 * MIB) == 0);
    NEED(raw(SYS_brk, old, 0, 0, 0, 0, 0) == old && munlockall() == 0);
    say("resident", "site_a", 8 * MIB);
    say("resident", "site_break", 8 * MIB);
    say("resident", "site_b", 4 * MIB);
    say("resident", "site_remap", 12 * MIB);
    say("touched", "site_remap", 12 * MIB);
    say("reserved", "site_break", 8 * MIB);
    say("reserved", "site_remap", 12 * MIB);
}

static void not_inherited(void) {
    char *p = site_a(16 * MIB, 0), *q = site_b(16 * MIB, 0);
    NEED(madvise(p, 16 * MIB, MADV_DONTFORK) == 0 && madvise(q, 16 * MIB, MADV_WIPEONFORK) == 0);
    touch_a(p, 12 * MIB);
    touch_b(q, 8 * MIB);
    int ready[2], go[2];
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    pid_t child = fork();
    char byte = 0;
    if (child == 0) {
        touch_b(q + 8 * MIB, 4 * MIB);
        NEED(write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1);
        _exit(0);
    }
    NEED(child > 0 && read(ready[0], &byte, 1) == 1);
    say("reserved", "site_a", 16 * MIB);
    say("reserved", "site_b", 2 * 16 * MIB);
    say("resident", "site_a", 12 * MIB);
    say("resident", "site_b", 8 * MIB + 4 * MIB);
    say("touched", "touch_b", 8 * MIB + 4 * MIB);
    NEED(write(go[1], &byte, 1) == 1 && waitpid(child, 0, 0) == child);
}

// What a child writes to of its parent's memory is its own from then on, as what it reads is not.
static void written_by_child(void) {
    char *p = site_a(32 * MIB, 0);
    touch_a(p, 24 * MIB);
    int ready[2], go[2], zero = open("/dev/zero", O_RDONLY);
    NEED(pipe(ready) == 0 && pipe(go) == 0 && zero >= 0);
    pid_t child = fork();
    char byte = 0;
    if (child == 0) {
        read_pages(p, 24 * MIB);
        touch_b(p + 4 * MIB, 8 * MIB);
        touch_by_kernel(zero, p + 16 * MIB, 4 * MIB);
        touch_b(site_b(8 * MIB, 0), 2 * MIB);
        NEED(write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1);
        _exit(0);
    }
    NEED(child > 0 && read(ready[0], &byte, 1) == 1);
    say("resident", "site_a", 2 * 24 * MIB);
    say("resident", "site_b", 2 * MIB);
    say("touched", "touch_a", 2 * 24 * MIB - 12 * MIB);
    say("touched", "touch_b", 10 * MIB);
    say("touched", "touch_by_kernel", 4 * MIB);
    NEED(write(go[1], &byte, 1) == 1 && waitpid(child, 0, 0) == child);
}

static void written_from_outside(void) {
    char *p = site_a(16 * MIB, 0);
    int ready[2], go[2];
    char byte = 0;
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        struct { void *at; size_t length; } from = {site_b(4 * MIB, 0), 4 * MIB}, to = {p + MIB, 4 * MIB};
        NEED(raw(SYS_process_vm_writev, parent, &from, 1, &to, 1, 0) == (long)(4 * MIB));
        NEED(write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1);
        _exit(0);
    }
    NEED(child > 0 && read(ready[0], &byte, 1) == 1);
    touch_a(p + 8 * MIB, MIB); // the peak: both live
    linger();
    say("resident", "site_a", 5 * MIB);
    say("touched", "[another process]", 4 * MIB);
    say("touched", "touch_a", MIB);
    NEED(write(go[1], &byte, 1) == 1 && waitpid(child, 0, 0) == child);
}

// Locked memory that becomes writable comes at once.
SITE static void allow(char *p, size_t length) { NEED(raw(SYS_mprotect, p, length, PROT_READ | PROT_WRITE, 0, 0, 0) == 0); }

static void locked_and_allowed(void) {
    NEED(mlockall(MCL_FUTURE) == 0);
    char *p = (char *)raw(SYS_mmap, 0, 16 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED((long)p > 0);
    allow(p + 4 * MIB, 4 * MIB);
    say("resident", "locked_and_allowed", 4 * MIB);
    say("touched", "allow", 4 * MIB);
    NEED(munlockall() == 0);
}

// Mappings too small for a huge page of 2 MiB; the test switches pages of 64 KiB on.
static void medium_pages(void) {
    char *low = site_b(32 * MIB, 0);
    touch_b(low, 32 * MIB);
    char *base = (char *)raw(SYS_mmap, 0, 34 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED((long)base > 0);
    base = (char *)(((uintptr_t)base + 2 * MIB - 1) & ~(2 * MIB - 1));
    size_t resident = 0;
    for (int i = 0; i < 8; i++) {
        char *p = base + i * 4 * MIB;
        NEED(mprotect(p, MIB, PROT_READ | PROT_WRITE) == 0 && madvise(p, MIB, MADV_HUGEPAGE) == 0);
        for (size_t at = 0; at < MIB; at += 64 << 10) touch_a(p + at + 5 * PAGE, PAGE);
        resident += rss(p, MIB);
    }
    NEED(resident == 8 * MIB);
    say("resident", "medium_pages", resident);
    say("touched", "touch_a", resident);
}

SITE static char *site_downwards(char *top) {
    char *p = raw_mmap(top - MIB, MIB, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1);
    NEED(p == top - MIB);
    return p;
}

static void grown_downwards(void) {
    char *p = site_downwards((char *)(128l << 30)); // nothing is near
    for (size_t down = 0; down < 4 * MIB; down += PAGE) touch_a(p - down, PAGE);
    say("reserved", "site_downwards", 5 * MIB - PAGE);
    say("resident", "site_downwards", 4 * MIB);
    say("touched", "touch_a", 4 * MIB);
}

// What glibc reserves for an arena looks the same.
SITE static char *site_own(size_t length) {
    long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    long p = raw(SYS_mmap, 0, length, PROT_NONE, flags, -1, 0);
    NEED(p > 0 && mprotect((void *)p, 8 * MIB, PROT_READ | PROT_WRITE) == 0);
    return (char *)p;
}

static void *volatile block;

static void own_reservation(void) {
    block = malloc(100);
    touch_a(site_own(64 * MIB), 4 * MIB);
    touch_a(site_own(128 * MIB), 4 * MIB);
    say("reserved", "site_own", 192 * MIB);
    say("resident", "site_own", 8 * MIB);
    say("touched", "touch_a", 8 * MIB);
}

// A thread's first call is a free: it makes an arena there, which is no reservation.
static void *frees_first(void *other) {
    free(other);
    touch_a(site_own(64 * MIB), 4 * MIB);
    block = malloc(5000);
    touch_b(site_own(64 * MIB), 4 * MIB);
    return 0;
}

static void freed_first(void) {
    pthread_t thread;
    block = malloc(100);
    NEED(!pthread_create(&thread, 0, frees_first, malloc(3000)));
    NEED(!pthread_join(thread, 0));
    say("reserved", "frees_first", 5000);
    say("touched", "touch_b", 4 * MIB);
}

static const struct truth cases[] = {
    CASE(punched), CASE(truncated), CASE(advised_by_another), CASE(regrown),
    CASE(left_after_the_peak), CASE(within_a_limit), CASE(populated_and_gone), CASE(populated_over),
    CASE(locked_in_future), CASE(not_inherited), CASE(medium_pages), CASE(grown_downwards),
    CASE(own_reservation), CASE(freed_first), CASE(written_by_child),
    CASE(written_from_outside), CASE(locked_and_allowed),
};

int main(int argc, char **argv) {
    argument = argc == 3 ? argv[2] : "";
    return argc > 1 ? tell(cases, sizeof cases / sizeof *cases, argv[1]) : 2;
}
