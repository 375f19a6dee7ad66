//! The table of events: the one place where a kind of event is spelled out.
//!
//! A row is a kind, its name in recordings, and in parentheses the record of the ABI that the
//! ring buffer carries it in; none where the tracer itself writes it. Its fields are those of the
//! record with the same names, and each says in which columns of the recording it stands.
//!
//! `events` makes [`Body`](super::Body) of it, `probes::decode` what reads the ring buffer,
//! `recording` what writes and reads the columns.

/// Gives the table to the macro `$then`.
macro_rules! event_table {
    ($then:ident) => {
        $then! {
            /// A block was handed out.
            Alloc "alloc" (Alloc) {
                /// Function that was called.
                function: Function as (function),
                /// Address of its first byte.
                address: Address as (address),
                /// Requested size in bytes.
                size: Bytes as (size),
            }
            /// A block was given back (sent before the allocator has it).
            Free "free" (Free) {
                /// The block.
                address: Address as (address),
            }
            /// A live block is being resized: until the thread's `ReallocExit` its
            /// address may already be somebody else's, though its bytes still count.
            ReallocEnter "realloc_enter" (Realloc) {
                /// The old block.
                address: Address as (address),
                /// Requested size in bytes.
                size: Bytes as (size),
            }
            /// The thread's resize ended.
            ReallocExit "realloc_exit" (Alloc) {
                /// Function that was called.
                function: Function as (function),
                /// The new block; 0 where none was returned: the old one lives on,
                /// unless size is 0 (then it was freed).
                address: Address as (address),
                /// Requested size in bytes.
                size: Bytes as (size),
            }
            /// A mapping was made; what lay there before (MAP_FIXED) is gone.
            Map "map" (Map) {
                /// Address of its first byte.
                address: Address as (address),
                /// Requested length in bytes.
                length: Bytes as (size),
                /// Offset in the file.
                offset: u64 as (offset),
                /// `PROT_*`
                prot: u32 as (prot),
                /// `MAP_*`
                flags: u32 as (flags),
                /// File descriptor, or -1.
                fd: i32 as (fd),
            }
            /// A range is being unmapped.
            Unmap "unmap" (Range) {
                /// Address of its first byte.
                address: Address as (address),
                /// Requested length in bytes.
                length: Bytes as (size),
            }
            /// A mapping is being moved or resized; until the thread's `RemapExit`
            /// its addresses may already be somebody else's.
            RemapEnter "remap_enter" (Remap) {
                /// Old address.
                address: Address as (address),
                /// Old length.
                length: Bytes as (size),
                /// New length.
                new_length: Bytes as (new_size),
                /// `MREMAP_*`
                flags: u64 as (flags),
            }
            /// The thread's move ended; address 0: it failed and nothing changed.
            RemapExit "remap_exit" (Range) {
                /// New address.
                address: Address as (address),
                /// New length.
                length: Bytes as (size),
            }
            /// The program break is now here.
            Break "break" (Range) {
                /// The break.
                address: Address as (address),
            }
            /// `madvise` was entered.
            Advise "advise" (Advise) {
                /// Address of its first byte.
                address: Address as (address),
                /// Length in bytes.
                length: Bytes as (size),
                /// `MADV_*`
                advice: u32 as (advice),
            }
            /// A System V segment was attached.
            ShmAttach "shm_attach" (Segment) {
                /// Address of its first byte.
                address: Address as (address),
                /// Segment id.
                segment: u64 as (segment),
                /// Its length, which user space asks the kernel for; 0 where it was gone by then.
                length: Bytes as (size),
            }
            /// It is being detached.
            ShmDetach "shm_detach" (Range) {
                /// Address of its first byte.
                address: Address as (address),
            }
            /// The thread's memory system call returned. If it was an `Unmap`, `Advise` or
            /// `ShmDetach` that failed: take it back.
            Returned "returned" (Returned) {
                /// Number of the system call.
                syscall: u16 as (syscall),
                /// errno, 0 where it succeeded.
                errno: i32 as (errno),
                /// Time between its entry and its return.
                took: Nanos as (took),
            }
            /// A counter of resident memory changed.
            Resident "resident" (Resident) {
                /// Counter that changed.
                member: RssCounter as (member),
                /// The kernel's count after the change.
                size: Bytes as (size),
                /// What the thread was doing.
                cause: Cause as (cause),
                /// Faulting address; without a fault that of the system call's buffer where
                /// it is one that fills it, or 0.
                address: Address as (address),
                /// Time between the fault and its first change, where there was one.
                took: Option<Nanos> as (took),
                /// x86 page-fault error code.
                error_code: u16 as (error_code),
                /// System call under way, `u16::MAX` for none.
                syscall: u16 as (syscall),
            }
            /// The process made a child.
            Fork "fork" (Fork) {
                /// The child.
                child: Pid as (child),
                /// No copy: the child runs in its parent's memory until it executes or
                /// ends (vfork, posix_spawn).
                shares_memory: bool as (shares_memory),
            }
            /// The process's image was replaced; every block and mapping ended. A
            /// launched command begins with one whose counts are 0.
            Exec "exec" (End) {
                /// The kernel's account of the old image.
                counts: KernelCounts as (resident_peak, virtual_peak, stack_size),
            }
            /// The process ended.
            Exit "exit" (End) {
                /// Wait status, as `wait(2)` gives it.
                status: u32 as (status),
                /// The kernel's account of the last image.
                counts: KernelCounts as (resident_peak, virtual_peak, stack_size),
            }
            /// The image that an exec made is in place.
            Began "began" (Began) {
                /// All that is mapped: program, dynamic linker, stack, vDSO.
                mapped: Bytes as (size),
                /// The part of it that is the stack.
                stack: Bytes as (stack_size),
            }
            /// The tracer begins to read which of the process's pages are present.
            CheckBegin "check_begin" ()
            /// It found these present. All runs of a check follow each other, without events
            /// of the process between them.
            Present "present" () {
                /// Address of its first byte.
                address: Address as (address),
                /// Length in bytes.
                length: Bytes as (size),
                /// Counter that the pages belong to.
                member: RssCounter as (member),
            }
            /// These were all.
            CheckEnd "check_end" ()
            /// What the command had used when it ended, its waited-for children included.
            Usage "usage" () {
                /// Time in user mode.
                user: Nanos as (user),
                /// Time in the kernel.
                system: Nanos as (system),
            }
            /// A page that is there is written to, in a process that a fork gave its memory: it is
            /// copied, which moves no counter.
            Written "written" (Range) {
                /// Address of its first byte.
                address: Address as (address),
            }
        }
    };
}

pub(crate) use event_table;
