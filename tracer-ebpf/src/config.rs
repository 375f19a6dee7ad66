//! What user space tells the programs before it loads them.

/// Values of [`Config`]'s offsets where this kernel has no such member.
pub const ABSENT: u32 = u32::MAX;

/// What user space tells the programs before it loads them (the read-only
/// global `CONFIG`). Offsets are bytes from the start of the kernel's struct,
/// looked up in its BTF, or [`ABSENT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Pending bytes in the ring buffer from which its reader is woken.
    pub wake_bytes: u64,
    /// The pending bytes are looked at once in `wake_every` events of a thread
    /// (a power of two).
    pub wake_every: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// 1 where `sched_prepare_exec` (Linux 6.9) says that an image ends.
    pub prepare_exec: u32,
    /// 1: every stack is sent with a copy, not only those that can't be walked;
    /// for checking one unwinder against another.
    pub copy_all: u32,
    /// How stacks are taken, one of [`stacks`]; for comparing what they cost.
    pub stacks: u32,
    /// How many pid namespaces are around the tracer's own: ids are told as that one has them.
    /// 0: it is the initial one.
    pub namespace_level: u32,
    /// Inode number of the tracer's pid namespace, as `stat` on `/proc/self/ns/pid` says.
    pub namespace_inode: u32,
    /// `task_struct.thread_pid`
    pub task_thread_pid: u32,
    /// `pid.level`
    pub pid_level: u32,
    /// `pid.numbers`
    pub pid_numbers: u32,
    /// `pid_namespace.ns.inum`
    pub namespace_inum: u32,
    /// `task_struct.thread_info.status`
    pub task_status: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `task_struct.pid`
    pub task_pid: u32,
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.rss_stat.count`: what a thread has counted and its memory's counters lack,
    /// up to Linux 6.1; [`ABSENT`](crate::ABSENT) from 6.2 on
    pub task_rss_stat: u32,
    /// `mm_struct.rss_stat.count`, likewise
    pub mm_rss_stat: u32,
    /// The process that is stopped when another thread of its than the first has executed a
    /// program, until user space has attached the probes anew; 0: none.
    pub held: u32,
    /// `k_sigaction.sa.sa_handler`
    pub action_handler: u32,
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `task_struct.group_leader`
    pub task_group_leader: u32,
    /// `task_struct.exit_code`
    pub task_exit_code: u32,
    /// `task_struct.min_flt`
    pub task_min_flt: u32,
    /// `task_struct.maj_flt`
    pub task_maj_flt: u32,
    /// `signal_struct.live`
    pub signal_live: u32,
    /// `signal_struct.flags`
    pub signal_flags: u32,
    /// `signal_struct.group_exit_code`
    pub signal_group_exit_code: u32,
    /// `mm_struct.hiwater_rss`
    pub mm_hiwater_rss: u32,
    /// `mm_struct.hiwater_vm`
    pub mm_hiwater_vm: u32,
    /// `mm_struct.total_vm`
    pub mm_total_vm: u32,
    /// `mm_struct.stack_vm`
    pub mm_stack_vm: u32,
    /// `mm_struct.hugetlb_usage`, [`ABSENT`](crate::ABSENT) where the machine has no such pages
    pub mm_hugetlb_usage: u32,
    /// `mm_struct.uprobes_state.xol_area`
    pub mm_xol_area: u32,
    /// `xol_area.vaddr`
    pub xol_area_vaddr: u32,
}

/// Values of [`Config::stacks`].
pub mod stacks {
    /// By unwind tables.
    pub const TABLES: u32 = 0;
    /// Those of the malloc family by the kernel's `bpf_get_stackid`, no others.
    pub const KERNEL: u32 = 1;
    /// None.
    pub const NONE: u32 = 2;
    /// Those of the malloc family by unwind tables, no others.
    pub const TABLES_OF_CALLS: u32 = 3;
}
