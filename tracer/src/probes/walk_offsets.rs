//! Where the kernel's structs have what the walk reads.

use super::btf::Btf;
use tracer_ebpf::ABSENT;
use tracer_ebpf::tables::KernelOffsets;

/// Looks the members up. A kernel without uprobes lacks some of them
/// ([`ABSENT`]); what every kernel has is an error to lack.
///
/// # Errors
///
/// The struct and the member that are missing.
pub(super) fn offsets(btf: &Btf) -> Result<KernelOffsets, (&'static str, &'static str)> {
    let need = |of, member| btf.offset_of(of, member).ok_or((of, member));
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
