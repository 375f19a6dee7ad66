//! How the programs read the kernel's own structures: at offsets that user
//! space looked up in this kernel's BTF and wrote to `CONFIG`.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
use tracer_ebpf::{ABSENT, Config, KernelCounts};

/// Set by the loader; the verifier sees its values as constants.
#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    wake_bytes: 0,
    wake_every: 1,
    page_size: 4096,
    prepare_exec: 0,
    copy_all: 0,
    stacks: 0,
    namespace_level: 0,
    namespace_inode: 0,
    task_thread_pid: ABSENT,
    pid_level: ABSENT,
    pid_numbers: ABSENT,
    namespace_inum: ABSENT,
    task_status: ABSENT,
    task_mm: ABSENT,
    task_pid: ABSENT,
    task_tgid: ABSENT,
    task_rss_stat: ABSENT,
    mm_rss_stat: ABSENT,
    held: 0,
    action_handler: ABSENT,
    task_signal: ABSENT,
    task_group_leader: ABSENT,
    task_exit_code: ABSENT,
    task_min_flt: ABSENT,
    task_maj_flt: ABSENT,
    signal_live: ABSENT,
    signal_flags: ABSENT,
    signal_group_exit_code: ABSENT,
    mm_hiwater_rss: ABSENT,
    mm_hiwater_vm: ABSENT,
    mm_total_vm: ABSENT,
    mm_stack_vm: ABSENT,
    mm_hugetlb_usage: ABSENT,
    mm_xol_area: ABSENT,
    xol_area_vaddr: ABSENT,
};

/// A field of the configuration. Volatile, because the value that counts is
/// written after this code was compiled.
macro_rules! config {
    ($field:ident) => {
        // SAFETY: a live static of the right type.
        unsafe { core::ptr::read_volatile(&raw const $crate::kernel::config_static().$field) }
    };
}
pub(crate) use config;

/// Where `config!` reads.
#[inline(always)]
pub(crate) fn config_static() -> &'static Config {
    &CONFIG
}

/// A kernel struct at an address that need not be valid: reads are checked.
#[derive(Clone, Copy)]
pub(crate) struct Kernel(pub(crate) u64);

impl Kernel {
    /// The member at `offset`, or `None` where there is none.
    #[inline(always)]
    pub(crate) fn read<T>(self, offset: u32) -> Option<T> {
        if self.0 == 0 || offset == ABSENT {
            return None;
        }
        // SAFETY: bpf_probe_read_kernel takes any address and fails on a bad one.
        unsafe { bpf_probe_read_kernel((self.0 + u64::from(offset)) as *const T) }.ok()
    }

    /// The struct that the member at `offset` points to.
    #[inline(always)]
    pub(crate) fn follow(self, offset: u32) -> Self {
        Self(self.read::<u64>(offset).unwrap_or(0))
    }
}

/// `struct task_struct` of the current thread.
#[inline(always)]
pub(crate) fn current() -> Kernel {
    // SAFETY: takes no argument and can't fail.
    Kernel(unsafe { bpf_get_current_task() })
}

/// The id of a thread as the tracer's pid namespace has it; 0 where it has none
/// (include/linux/pid.h: `numbers[level]` is the id in the namespace at that level).
#[inline(always)]
pub(crate) fn id_in_namespace(task: Kernel) -> u32 {
    /// Bytes of `struct upid`: the id, then a pointer to its namespace.
    const UPID: u32 = 16;
    const NAMESPACE: u32 = 8;
    let level = config!(namespace_level);
    let pid = task.follow(config!(task_thread_pid));
    if pid.read::<u32>(config!(pid_level)).unwrap_or(0) < level {
        return 0;
    }
    let own = config!(pid_numbers).wrapping_add(level.wrapping_mul(UPID));
    let namespace = pid.follow(own.wrapping_add(NAMESPACE));
    let inode = namespace.read(config!(namespace_inum));
    if inode != Some(config!(namespace_inode)) {
        return 0;
    }
    pid.read(own).unwrap_or(0)
}

/// What a global function was given: to the verifier it may be null.
///
/// A program's function that has a name of its own (`no_mangle`) is global: the
/// verifier looks at it once for each program, whatever its callers know. One
/// that has none is followed anew from each call.
#[inline(always)]
pub(crate) fn given<'a, T>(argument: *mut T) -> Option<&'a mut T> {
    // SAFETY: these functions are called with references only, each to its
    // caller's own.
    unsafe { argument.as_mut() }
}

/// [`given`] of what programs share.
#[inline(always)]
pub(crate) fn given_shared<'a, T>(argument: *const T) -> Option<&'a T> {
    // SAFETY: as in `given`.
    unsafe { argument.as_ref() }
}

/// A word of the current process's memory; `None` where it isn't there now.
#[inline(always)]
pub(crate) fn user_word(address: u64) -> Option<u64> {
    // SAFETY: bpf_probe_read_user takes any address and fails on a bad one.
    unsafe { bpf_probe_read_user(address as *const u64) }.ok()
}

/// Faults that the current thread has completed. It doesn't change while one is
/// handled (mm/memory.c, `mm_account_fault`), so it tells whether a fault seen
/// earlier is still the one being handled.
#[inline(always)]
pub(crate) fn completed_faults() -> u64 {
    let task = current();
    let minor: u64 = task.read(config!(task_min_flt)).unwrap_or(0);
    let major: u64 = task.read(config!(task_maj_flt)).unwrap_or(0);
    minor.wrapping_add(major)
}

/// Where functions with a pending return probe return to (kernel/events/uprobes.c,
/// `uprobe_get_trampoline_vaddr`); 0 where the process has no such place yet.
#[inline(always)]
pub(crate) fn return_trampoline() -> u64 {
    let mm = current().follow(config!(task_mm));
    let area = mm.follow(config!(mm_xol_area));
    area.follow(config!(xol_area_vaddr)).0
}

/// Whether the current system call came through the 32-bit ABI (`TS_COMPAT`,
/// arch/x86/include/asm/thread_info.h): its number means another call.
#[inline(always)]
pub(crate) fn in_compat_syscall() -> bool {
    const TS_COMPAT: u32 = 2;
    let status: u32 = current().read(config!(task_status)).unwrap_or(0);
    status & TS_COMPAT != 0
}

/// VmHWM and VmPeak as `/proc/PID/status` would print them (fs/proc/task_mmu.c,
/// `task_mem`), given the resident bytes of now.
#[inline(always)]
pub(crate) fn kernel_counts(mm: Kernel, resident: u64) -> KernelCounts {
    if mm.0 == 0 {
        return KernelCounts::default();
    }
    let pages = |offset| counted(mm, offset);
    let highest_resident = pages(config!(mm_hiwater_rss));
    let (highest, total) = (pages(config!(mm_hiwater_vm)), pages(config!(mm_total_vm)));
    KernelCounts {
        resident_peak: highest_resident.max(resident),
        virtual_peak: highest.max(total),
        stack: pages(config!(mm_stack_vm)),
    }
}

/// All mappings of an address space and those of its stack, in bytes.
#[inline(always)]
pub(crate) fn mapped(mm: Kernel) -> (u64, u64) {
    (
        counted(mm, config!(mm_total_vm)),
        counted(mm, config!(mm_stack_vm)),
    )
}

/// Huge pages of hugetlbfs in the current process's memory, in bytes. `None` where this is
/// not followed.
#[inline(always)]
pub(crate) fn hugetlb_usage() -> Option<u64> {
    let offset = config!(mm_hugetlb_usage);
    if offset == ABSENT {
        return None;
    }
    Some(counted(current().follow(config!(task_mm)), offset))
}

/// A count of pages, in bytes; 0 where there is none.
#[inline(always)]
fn counted(mm: Kernel, offset: u32) -> u64 {
    let pages = mm.read::<u64>(offset).unwrap_or(0);
    pages.wrapping_mul(config!(page_size))
}
