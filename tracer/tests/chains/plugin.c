// What chains.c loads: a frame of its own, and a function that is chosen when it is first called,
// through the procedure linkage table and the dynamic linker.
static void (*resolve)(void);

__attribute__((noinline)) static void plugged(void (*run)(int), int chain) {
    volatile char local[300];
    local[chain % 300] = 1;
    run(chain);
    local[0] = 2;
}
void plugin_run(void (*run)(int), int chain) {
    plugged(run, chain);
    __asm__ volatile("" ::: "memory");
}

static void choice(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((used)) static void (*resolver(void))(void) {
    resolve();
    return choice;
}
void plugin_chosen(void) __attribute__((ifunc("resolver")));
void plugin_call_chosen(void (*call)(void)) {
    resolve = call;
    plugin_chosen();
    __asm__ volatile("" ::: "memory");
}
