//! x86-64.

/// System call numbers (arch/x86/entry/syscalls/syscall_64.tbl).
#[allow(missing_docs, reason = "each is the number of the call of its name")]
pub mod syscall {
    pub const READ: u32 = 0;
    pub const WRITE: u32 = 1;
    pub const MMAP: u32 = 9;
    pub const MPROTECT: u32 = 10;
    pub const MUNMAP: u32 = 11;
    pub const BRK: u32 = 12;
    pub const PREAD64: u32 = 17;
    pub const PWRITE64: u32 = 18;
    pub const READV: u32 = 19;
    pub const WRITEV: u32 = 20;
    pub const ACCESS: u32 = 21;
    pub const MREMAP: u32 = 25;
    pub const MADVISE: u32 = 28;
    pub const SHMAT: u32 = 30;
    pub const EXECVE: u32 = 59;
    pub const EXIT: u32 = 60;
    pub const SHMDT: u32 = 67;
    pub const MLOCK: u32 = 149;
    pub const MUNLOCK: u32 = 150;
    pub const MLOCKALL: u32 = 151;
    pub const MUNLOCKALL: u32 = 152;
    pub const EXIT_GROUP: u32 = 231;
    pub const FACCESSAT: u32 = 269;
    pub const VMSPLICE: u32 = 278;
    pub const PREADV: u32 = 295;
    pub const PWRITEV: u32 = 296;
    pub const EXECVEAT: u32 = 322;
    pub const MLOCK2: u32 = 325;
    pub const PREADV2: u32 = 327;
    pub const PWRITEV2: u32 = 328;
    pub const PKEY_MPROTECT: u32 = 329;
    pub const FACCESSAT2: u32 = 439;

    /// One more than the highest.
    pub const COUNT: usize = 440;
}

/// The same of the 32-bit ABI (syscall_32.tbl).
#[allow(missing_docs, reason = "each is the number of the call of its name")]
pub mod compat {
    pub const BRK: u32 = 45;
    pub const MMAP: u32 = 90;
    pub const MUNMAP: u32 = 91;
    pub const MREMAP: u32 = 163;
    pub const MMAP2: u32 = 192;
    pub const MADVISE: u32 = 219;
}

/// Bits of a page fault's error code (arch/x86/include/asm/trap_pf.h).
pub mod fault {
    /// The page was there.
    pub const PRESENT: u64 = 1;
    /// It was there, and the fault was a write.
    pub const WRITE_TO_PRESENT: u64 = 3;
}
