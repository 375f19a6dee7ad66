//! Unwind tables: what user space makes of `.eh_frame` and the unwinder reads.
//!
//! A file's table is an array of [`Chunk`]s of 1,024 words. It begins with the
//! index, one [`Page`] of two words for each 1 KiB of code in file order; the
//! rows of each page follow, sorted, never straddling a chunk: a row for each
//! byte of a page would just fill one. A row is one word
//! (see [`row`]) and holds from its address up to the next row's; each page's
//! first row repeats the one in force, so a search never leaves its page.
//! Addresses are file offsets: no load bias, no segment table.

/// Words in a chunk.
pub const CHUNK_WORDS: usize = 1024;

/// The unit in which tables are loaded and looked up: one page of memory.
pub type Chunk = [u32; CHUNK_WORDS];

/// Chunks of index that precede the rows hold this many pages each.
pub const PAGES_PER_CHUNK: u32 = CHUNK_WORDS as u32 / 2;

/// log₂ of the bytes of code that a page of the index covers.
pub const PAGE_SHIFT: u32 = 10;

/// Bits of a row that name its rule.
pub const RULE_BITS: u32 = 20;

/// Rules that all tables together may have.
pub const MAX_RULES: u32 = 1 << 15;

/// Tables that may be loaded at once.
pub const MAX_TABLES: u32 = 8192;

/// Where a page's rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Chunk of the table.
    pub chunk: u32,
    /// First row in it.
    pub first: u16,
    /// Number of rows.
    pub count: u16,
}

impl Page {
    /// As the index stores it.
    #[must_use]
    pub const fn words(self) -> [u32; 2] {
        [self.chunk, self.first as u32 | (self.count as u32) << 16]
    }
}

/// A row: `rule` holds from byte `low` of the page.
#[must_use]
pub const fn row(low: u32, rule: u32) -> u32 {
    (low & ((1 << PAGE_SHIFT) - 1)) << RULE_BITS | (rule & ((1 << RULE_BITS) - 1))
}

/// Number of the rule that says that no unwind information exists.
pub const NO_RULE: u32 = 0;

/// How to step from a frame to its caller. CFA, the canonical frame address, is
/// the caller's stack pointer after the return (DWARF 5, §6.4).
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// One of [`cfa`].
    pub cfa: u8,
    /// One of [`ra`].
    pub ra: u8,
    /// One of [`bp`].
    pub bp: u8,
    /// 1 for a signal frame: its caller was interrupted and did not call.
    pub signal: u8,
    /// Bytes; see [`cfa`].
    pub cfa_offset: i32,
    /// Bytes; see [`cfa`].
    pub cfa_add: i32,
    /// Bytes; see [`ra`].
    pub ra_offset: i32,
    /// Bytes; see [`bp`].
    pub bp_offset: i32,
    /// The caller's rbx is at CFA + `bx_offset`; 0: it is unchanged. The dynamic
    /// linker's resolver, through which every lazily bound call goes, finds its
    /// frame by it.
    pub bx_offset: i32,
}

impl Rule {
    /// At the entry of a function: the return address is on top of the stack.
    pub const ENTRY: Self = Self {
        cfa: cfa::SP,
        ra: ra::NORMAL,
        bp: bp::SAME,
        signal: 0,
        cfa_offset: 8,
        cfa_add: 0,
        ra_offset: 0,
        bp_offset: 0,
        bx_offset: 0,
    };
}

/// How [`Rule`] computes the CFA.
pub mod cfa {
    /// There is no unwind information.
    pub const NONE: u8 = 0;
    /// The rule can't be followed.
    pub const UNSUPPORTED: u8 = 1;
    /// rsp + `cfa_offset`
    pub const SP: u8 = 2;
    /// rbp + `cfa_offset`
    pub const BP: u8 = 3;
    /// \*(rsp + `cfa_offset`) + `cfa_add`
    pub const AT_SP: u8 = 4;
    /// \*(rbp + `cfa_offset`) + `cfa_add`
    pub const AT_BP: u8 = 5;
    /// rsp + `cfa_offset` + 8 × (rip mod 16 ≥ `cfa_add`): procedure linkage tables.
    pub const PLT: u8 = 6;
    /// rbx + `cfa_offset`
    pub const BX: u8 = 7;
    /// The register with DWARF number `cfa_add` + `cfa_offset`: only the
    /// innermost frame's registers are known.
    pub const LEAF: u8 = 8;
}

/// Where [`Rule`] finds the return address.
pub mod ra {
    /// At CFA − 8.
    pub const NORMAL: u8 = 0;
    /// Nowhere: this is the entry of the process or thread.
    pub const END: u8 = 1;
    /// At CFA + `ra_offset`.
    pub const AT_CFA: u8 = 2;
    /// At rsp + `ra_offset`.
    pub const AT_SP: u8 = 3;
    /// In the register with DWARF number `ra_offset`: only the innermost frame's
    /// registers are known. vfork keeps it there, for its child uses the same stack.
    pub const LEAF: u8 = 4;
}

/// Where [`Rule`] finds the caller's rbp.
pub mod bp {
    /// It is unchanged.
    pub const SAME: u8 = 0;
    /// At CFA + `bp_offset`.
    pub const AT_CFA: u8 = 1;
    /// At rsp + `bp_offset`.
    pub const AT_SP: u8 = 2;
    /// At rbp + `bp_offset`.
    pub const AT_BP: u8 = 3;
    /// Lost.
    pub const UNKNOWN: u8 = 4;
}

/// What the kernel knows a file by; the key of the map `FILES`.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// Inode number.
    pub inode: u64,
    /// Size in bytes: tells a file from another that got its inode later.
    pub size: u64,
    /// Device, as the kernel encodes it (`MKDEV`, 20 bits of minor).
    pub device: u32,
    /// Zero.
    pub _pad: u32,
}

/// Key of the vDSO, which is no file.
pub const VDSO: FileKey = FileKey {
    inode: u64::MAX,
    size: 0,
    device: 0,
    _pad: 0,
};

/// A file's table; the value of the map `FILES`.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileTable {
    /// Index in the map `TABLES`; 0: the file has no unwind information.
    pub table: u32,
    /// Pages in its index.
    pub pages: u32,
    /// File offset of the first page.
    pub offset: u64,
}

/// A file that was seen mapped and has no entry in `FILES`; the value of the map
/// `UNKNOWN_FILES`, from which user space learns what to prepare.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Where it is mapped, …
    pub start: u64,
    /// … until here, …
    pub end: u64,
    /// … in which process.
    pub pid: u32,
    /// Zero.
    pub _pad: u32,
}

/// Offsets of members of the kernel's structs, from its BTF. Bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelOffsets {
    /// `vm_area_struct.vm_start`
    pub vma_start: u32,
    /// `vm_area_struct.vm_end`
    pub vma_end: u32,
    /// `vm_area_struct.vm_flags`
    pub vma_flags: u32,
    /// `vm_area_struct.vm_pgoff`
    pub vma_pgoff: u32,
    /// `vm_area_struct.vm_file`
    pub vma_file: u32,
    /// `vm_area_struct.vm_mm`
    pub vma_mm: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `inode.i_ino`
    pub inode_number: u32,
    /// `inode.i_size`
    pub inode_size: u32,
    /// `inode.i_sb`
    pub inode_sb: u32,
    /// `super_block.s_dev`
    pub sb_device: u32,
    /// `super_block.s_blocksize`
    pub sb_block: u32,
    /// `mm_struct.context.vdso`
    pub mm_vdso: u32,
    /// `mm_struct.uprobes_state.xol_area`
    pub mm_xol: u32,
    /// `xol_area.vaddr`
    pub xol_address: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `task_struct.utask`
    pub task_utask: u32,
    /// `uprobe_task.return_instances`
    pub utask_returns: u32,
    /// `return_instance.stack`
    pub return_stack: u32,
    /// `return_instance.orig_ret_vaddr`
    pub return_address: u32,
    /// `return_instance.next`
    pub return_next: u32,
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<Chunk>() == 4096);
    assert!(size_of::<Rule>() == 24);
    assert!(size_of::<FileKey>() == 24);
    assert!(size_of::<FileTable>() == 16);
    assert!(size_of::<Sighting>() == 24);
    assert!(size_of::<KernelOffsets>() == 84);
    assert!(MAX_RULES <= 1 << RULE_BITS);
    assert!(PAGE_SHIFT + RULE_BITS <= u32::BITS);
    assert!(1 << PAGE_SHIFT <= CHUNK_WORDS);
};
