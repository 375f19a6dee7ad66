//! Where the kernel's structs have what the programs read, all in one place.

use super::btf::Btf;
use super::namespace::Namespace;
use tracer_ebpf::tables::KernelOffsets;
use tracer_ebpf::{ABSENT, Config};

/// A member that every kernel has, and this one lacks.
pub(super) struct Missing {
    pub(super) structure: &'static str,
    pub(super) member: &'static str,
}

fn need(btf: &Btf, structure: &'static str, member: &'static str) -> Result<u32, Missing> {
    let found = btf.offset_of(structure, member);
    found.ok_or(Missing { structure, member })
}

/// What the programs read; their other settings are left at nothing.
pub(super) fn of_programs(btf: &Btf, namespace: &Namespace) -> Result<Config, Missing> {
    let offset = |structure, member| need(btf, structure, member);
    let task = |member| offset("task_struct", member);
    let signal = |member| offset("signal_struct", member);
    let mm = |member| offset("mm_struct", member);
    Ok(Config {
        namespace_level: namespace.level,
        namespace_inode: namespace.inode,
        task_thread_pid: namespace.task_thread_pid,
        pid_level: namespace.pid_level,
        pid_numbers: namespace.pid_numbers,
        namespace_inum: namespace.inum,
        wake_bytes: 0,
        wake_every: 1,
        page_size: 0,
        copy_all: 0,
        stacks: 0,
        prepare_exec: 0,
        // Only x86 has it, for 32-bit calls.
        task_status: task("thread_info.status").unwrap_or(ABSENT),
        task_mm: task("mm")?,
        task_pid: task("pid")?,
        task_tgid: task("tgid")?,
        // From 6.2 on, no thread counts by itself.
        task_rss_stat: task("rss_stat.count").unwrap_or(ABSENT),
        mm_rss_stat: mm("rss_stat.count").unwrap_or(ABSENT),
        held: 0,
        action_handler: offset("k_sigaction", "sa.sa_handler")?,
        task_signal: task("signal")?,
        task_group_leader: task("group_leader")?,
        task_exit_code: task("exit_code")?,
        task_min_flt: task("min_flt")?,
        task_maj_flt: task("maj_flt")?,
        signal_live: signal("live")?,
        signal_flags: signal("flags")?,
        signal_group_exit_code: signal("group_exit_code")?,
        mm_hiwater_rss: mm("hiwater_rss")?,
        mm_hiwater_vm: mm("hiwater_vm")?,
        mm_total_vm: mm("total_vm")?,
        mm_stack_vm: mm("stack_vm")?,
        mm_hugetlb_usage: match super::hugetlb::is_possible() {
            true => mm("hugetlb_usage").unwrap_or(ABSENT),
            false => ABSENT,
        },
        // Only for kernels with uprobes.
        mm_xol_area: mm("uprobes_state.xol_area").unwrap_or(ABSENT),
        xol_area_vaddr: offset("xol_area", "vaddr").unwrap_or(ABSENT),
    })
}

/// What the walk of a stack reads. A kernel without uprobes lacks some of it.
pub(super) fn of_walk(btf: &Btf) -> Result<KernelOffsets, Missing> {
    let need = |structure, member| need(btf, structure, member);
    let may = |of, member| btf.offset_of(of, member).unwrap_or(ABSENT);
    let area = |member| need("vm_area_struct", member);
    Ok(KernelOffsets {
        vma_start: area("vm_start")?,
        vma_end: area("vm_end")?,
        vma_flags: area("vm_flags")?,
        vma_pgoff: area("vm_pgoff")?,
        vma_file: area("vm_file")?,
        vma_mm: area("vm_mm")?,
        file_inode: need("file", "f_inode")?,
        inode_number: need("inode", "i_ino")?,
        inode_size: need("inode", "i_size")?,
        inode_sb: need("inode", "i_sb")?,
        sb_device: need("super_block", "s_dev")?,
        sb_block: need("super_block", "s_blocksize")?,
        mm_vdso: may("mm_struct", "context.vdso"),
        mm_xol: may("mm_struct", "uprobes_state.xol_area"),
        xol_address: may("xol_area", "vaddr"),
        task_mm: need("task_struct", "mm")?,
        task_utask: may("task_struct", "utask"),
        utask_returns: may("uprobe_task", "return_instances"),
        return_stack: may("return_instance", "stack"),
        return_address: may("return_instance", "orig_ret_vaddr"),
        return_next: may("return_instance", "next"),
    })
}
