//! The kernel's structs, as far as a walk reads them.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use core::ffi::c_void;
use tracer_ebpf::ABSENT;
use tracer_ebpf::tables::KernelOffsets;

/// Set by the loader; the verifier sees its values as constants.
#[unsafe(no_mangle)]
static OFFSETS: KernelOffsets = KernelOffsets {
    vma_start: ABSENT,
    vma_end: ABSENT,
    vma_flags: ABSENT,
    vma_pgoff: ABSENT,
    vma_file: ABSENT,
    vma_mm: ABSENT,
    file_inode: ABSENT,
    inode_number: ABSENT,
    inode_size: ABSENT,
    inode_sb: ABSENT,
    sb_device: ABSENT,
    sb_block: ABSENT,
    mm_vdso: ABSENT,
    mm_xol: ABSENT,
    xol_address: ABSENT,
    task_mm: ABSENT,
    task_utask: ABSENT,
    utask_returns: ABSENT,
    return_stack: ABSENT,
    return_address: ABSENT,
    return_next: ABSENT,
};

/// Where `offset!` reads.
#[inline(always)]
pub(super) fn offsets() -> &'static KernelOffsets {
    &OFFSETS
}

/// The offset of a member of a kernel struct. Volatile, because the value that
/// counts is written after this code was compiled.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a live static of the right type.
        unsafe { core::ptr::read_volatile(&raw const $crate::unwind::offsets::offsets().$field) }
    };
}
pub(super) use offset;

/// A word of a kernel struct; 0 where there is none. Unlike `Kernel::read`, it
/// has no branch for the verifier to follow: the helper zeroes what it can't read.
#[inline(always)]
pub(super) fn member(of: u64, offset: u32) -> u64 {
    let mut word = 0u64;
    if offset != ABSENT {
        let address = of.wrapping_add(u64::from(offset)) as *const c_void;
        // SAFETY: the helper takes any source address and fails on a bad one.
        unsafe { bpf_probe_read_kernel((&raw mut word).cast(), 8, address) };
    }
    word
}
