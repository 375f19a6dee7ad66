//! Which file's code an address is in, asked of the kernel itself: right after
//! exec, `dlopen` and fork, with nothing to keep up to date.

use super::hash::mix;
use super::mapping::{Mapping, Question, Seen, kind};
use super::offsets::{member, offset};
use super::walk::{self, Walk};
use crate::ids::{current_ids, thread_key};
use crate::kernel::given;
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST, task_struct};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{
    bpf_find_vma, bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_loop,
};
use aya_ebpf::macros::btf_map;
use core::ffi::c_void;
use tracer_ebpf::tables::{FileKey, FileTable, Sighting, VDSO};

/// Tables of files; user space fills it.
#[btf_map]
static FILES: HashMap<FileKey, FileTable, 65536, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Files without an entry in `FILES`, for user space to prepare.
#[btf_map]
static UNKNOWN_FILES: HashMap<FileKey, Sighting, 1024> = HashMap::new();

/// What the kernel said of an address, by space and 64 KiB of addresses.
#[btf_map]
static MAPPINGS: LruHashMap<Area, Mapping, 16384> = LruHashMap::new();

/// When a process last mapped something executable, by the last bits of its pid:
/// from then on, what `MAPPINGS` had for the process means nothing.
#[btf_map]
static GENERATIONS: Array<u64, 1024> = Array::new();

/// log₂ of the bytes that an [`Area`] covers.
const AREA_SHIFT: u32 = 16;

/// Times that a busy mmap lock is tried.
const LOCK_ATTEMPTS: u32 = 32;

/// `VM_EXEC` (include/linux/mm.h).
const VM_EXEC: u64 = 4;

/// Key of `MAPPINGS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Area {
    /// See [`space`].
    space: u64,
    /// Address, shifted by [`AREA_SHIFT`].
    area: u64,
}

/// Identity of an address space at a time: `image` tells processes and execs
/// apart, the generation what was mapped since.
#[inline(always)]
pub(super) fn space(image: u64) -> u64 {
    let generation = GENERATIONS
        .get(generation_of_current())
        .copied()
        .unwrap_or(0);
    mix(image, generation)
}

/// Which of `GENERATIONS` is the current process's.
#[inline(always)]
fn generation_of_current() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32 & 1023
}

/// Notes that the current process mapped something executable at `address`, so
/// that user space prepares it before it is called.
#[inline(always)]
pub(crate) fn note_executable_mapping(address: u64) {
    if let Some(generation) = GENERATIONS.get_ptr_mut(generation_of_current()) {
        // SAFETY: an element of an array. Several threads may write it; each
        // writes a time that nobody wrote before.
        unsafe { *generation = bpf_ktime_get_ns() };
    }
    if let Some(asked) = question() {
        ask_kernel(address, asked);
    }
}

/// Makes `walk.mapping` the one that an address lies in.
#[inline(always)]
pub(super) fn locate(walk: &mut Walk, address: u64) {
    // It always is 0: a global function has to return a number.
    let _ = locate_mapping(walk, address);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn locate_mapping(walk: *mut Walk, address: u64) -> u32 {
    if let Some(walk) = given(walk) {
        look_up(walk, address);
    }
    0
}

#[inline(always)]
fn look_up(walk: &mut Walk, address: u64) {
    if walk.mapping.contains(address) {
        return;
    }
    let area = Area {
        space: walk.space,
        area: address >> AREA_SHIFT,
    };
    // SAFETY: a recycled element is another process's, whose addresses differ
    // or whose mapping is checked against the address like any.
    if let Some(known) = unsafe { MAPPINGS.get(&area) } {
        if known.contains(address) {
            walk.mapping = *known;
            return;
        }
    }
    walk.mapping.clear();
    let Some(asked) = question() else {
        // Only a thread that has no walk has none.
        return;
    };
    ask_kernel(address, asked);
    walk.mapping = asked.mapping;
    if asked.mapping.kind == kind::TABLE || asked.mapping.kind == kind::NO_TABLE {
        // A failure costs the next look-up some time.
        let _ = MAPPINGS.insert(&area, &asked.mapping, 0);
    }
}

/// The current thread's room for a question. It is looked up rather than passed: kernels before 6.4
/// take keys and values of maps from maps and stacks alone, not from what a global function was
/// given.
#[inline(always)]
fn question() -> Option<&'static mut Question> {
    walk::question(thread_key())
}

/// Fills in `question.mapping` from the kernel's own structures.
#[inline(always)]
fn ask_kernel(address: u64, question: &mut Question) {
    let Question {
        seen,
        mapping,
        sighting,
    } = question;
    mapping.clear();
    let found = find(address, seen);
    if found == -EBUSY {
        // Another thread changes the list: what is there can be told later.
        mapping.kind = kind::PENDING;
        return;
    }
    if found != 0 || seen.flags & VM_EXEC == 0 {
        return;
    }
    mapping.start = seen.start;
    mapping.end = seen.end;
    mapping.kind = kind::NO_TABLE;
    if seen.file == 0 {
        if seen.vdso != seen.start {
            return;
        }
        seen.key = VDSO;
        seen.page = 0;
    }
    // SAFETY: user space adds elements and never removes any.
    match unsafe { FILES.get(&seen.key) } {
        Some(file) if file.table == 0 => {}
        Some(file) => {
            mapping.kind = kind::TABLE;
            mapping.table = file.table;
            mapping.pages = file.pages;
            mapping.base = seen
                .start
                .wrapping_sub(seen.page << 12)
                .wrapping_add(file.offset);
        }
        None => {
            mapping.kind = kind::PENDING;
            let (pid, _) = current_ids();
            sighting.start = seen.start;
            sighting.end = seen.end;
            sighting.pid = pid;
            // It may be known already.
            let _ = UNKNOWN_FILES.insert(&seen.key, sighting, u64::from(BPF_NOEXIST));
        }
    }
}

/// The byte after the last of the mapping that an address lies in; 0 where there
/// is none, or it can't be had.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn end_of_mapping(address: u64) -> u64 {
    let Some(asked) = question() else {
        return 0;
    };
    let seen = &mut asked.seen;
    if find(address, seen) == 0 {
        seen.end
    } else {
        0
    }
}

/// `VM_HUGETLB` (include/linux/mm.h).
const VM_HUGETLB: u64 = 0x40_0000;

/// Bytes of a page of hugetlbfs if an address lies in such a mapping, else 0: the block size of
/// its file system (fs/hugetlbfs/inode.c, `hugetlbfs_fill_super`).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn page_of_hugetlb(address: u64) -> u64 {
    let Some(asked) = question() else {
        return 0;
    };
    let seen = &mut asked.seen;
    if find(address, seen) == 0 && seen.flags & VM_HUGETLB != 0 {
        seen.block
    } else {
        0
    }
}

/// What an attempt to look an address up gets and gives.
#[repr(C)]
struct Attempt {
    address: u64,
    result: i64,
    seen: *mut Seen,
}

/// Looks an address up in the kernel's list of mappings: 0, or a negative errno,
/// of which [`EBUSY`] says that the list is being changed.
#[inline(always)]
fn find(address: u64, seen: &mut Seen) -> i64 {
    let mut context = Attempt {
        address,
        result: -EBUSY,
        seen,
    };
    // SAFETY: the callback gets the context as it is given here, and only while
    // this call lasts.
    unsafe {
        bpf_loop(
            LOCK_ATTEMPTS,
            attempt as *mut c_void,
            (&raw mut context).cast(),
            0,
        );
    }
    context.result
}

/// Tries once; 1 unless another thread is changing the list.
unsafe extern "C" fn attempt(_index: u32, context: *mut Attempt) -> i64 {
    // SAFETY: `find` gave this context.
    let address = unsafe { (*context).address };
    // The callback has to be given a place on the stack, as this context is.
    // SAFETY: the callback gets the context as it is given here, and only while
    // this call lasts.
    let result = unsafe {
        bpf_find_vma(
            bpf_get_current_task_btf(),
            address,
            on_vma as *mut c_void,
            context.cast(),
            0,
        )
    };
    // SAFETY: as above.
    unsafe { (*context).result = result };
    i64::from(result != -EBUSY)
}

const EBUSY: i64 = 16;

/// Copies what a `vm_area_struct` says.
unsafe extern "C" fn on_vma(_task: *mut task_struct, vma: u64, context: *mut Attempt) -> i64 {
    // SAFETY: `find` gave this context.
    let seen = unsafe { &mut *(*context).seen };
    seen.start = member(vma, offset!(vma_start));
    seen.end = member(vma, offset!(vma_end));
    seen.flags = member(vma, offset!(vma_flags));
    seen.page = member(vma, offset!(vma_pgoff));
    seen.file = member(vma, offset!(vma_file));
    seen.vdso = member(member(vma, offset!(vma_mm)), offset!(mm_vdso));
    let inode = member(seen.file, offset!(file_inode));
    seen.key.inode = member(inode, offset!(inode_number));
    seen.key.size = member(inode, offset!(inode_size));
    let sb = member(inode, offset!(inode_sb));
    seen.key.device = member(sb, offset!(sb_device)) as u32;
    seen.block = member(sb, offset!(sb_block));
    0
}
