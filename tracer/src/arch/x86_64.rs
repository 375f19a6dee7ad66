//! x86-64.

/// Bytes of a base page: there is no other size.
pub const PAGE: u64 = 4096;

/// Bytes of a huge page of the next level of page tables.
pub const HUGE_PAGE: u64 = 2 << 20;

/// No address of a program is above this one (five-level page tables).
pub const ADDRESSES: u64 = 1 << 56;

/// `e_machine` of its ELF files (`EM_X86_64`), …
pub const ELF_MACHINE: u16 = 62;

/// … and of its 32-bit programs (`EM_386`).
pub const ELF_MACHINE_32: u16 = 3;

/// What Debian's folders of libraries end in; `$LIB` of a library's path is `lib/` and this.
pub const LIBRARY_FOLDER: &str = "x86_64-linux-gnu";

/// `$PLATFORM` of a library's path (ld.so(8)).
pub const PLATFORM: &str = "x86_64";

/// Folders for newer processors, below each folder of libraries, the newest first (ld.so(8)).
pub const VARIANTS: [&str; 3] = [
    "glibc-hwcaps/x86-64-v4",
    "glibc-hwcaps/x86-64-v3",
    "glibc-hwcaps/x86-64-v2",
];

/// Where musl's loader has its list of folders.
pub const MUSL_PATH_FILE: &str = "/etc/ld-musl-x86_64.path";
