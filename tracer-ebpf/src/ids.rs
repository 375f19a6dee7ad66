//! Which thread runs just now.

use crate::kernel::{config, current, id_in_namespace};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;

/// What names the current thread in maps of threads: its id in the initial pid namespace,
/// which costs nothing to ask for.
#[inline(always)]
pub(crate) fn thread_key() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// Pid and tid of the current thread, as the tracer's pid namespace has them; 0 where it has
/// none.
#[inline(always)]
pub(crate) fn current_ids() -> (u32, u32) {
    if config!(namespace_level) == 0 {
        let ids = bpf_get_current_pid_tgid();
        return ((ids >> 32) as u32, ids as u32);
    }
    let ids = namespace_ids();
    ((ids >> 32) as u32, ids as u32)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn namespace_ids() -> u64 {
    let task = current();
    let leader = task.follow(config!(task_group_leader));
    u64::from(id_in_namespace(leader)) << 32 | u64::from(id_in_namespace(task))
}
