//! What the programs remember: processes, threads and address spaces.

use crate::ids::{current_ids, thread_key};
use crate::kernel::config;
use crate::ring;
use crate::unwind;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use core::cell::{Cell, UnsafeCell};
use tracer_ebpf::{
    Cause, KernelCounts, Kind, Loss, MAX_PROCESSES, MAX_THREADS, RssCounter, target,
};

/// The processes to trace, by pid; see [`target`]. User space puts the first
/// ones in, `process` their children; it is the first look-up of every program
/// that all processes of the machine run through.
#[map]
pub(crate) static TARGETS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_PROCESSES, 0);

/// Threads of targets, by [`thread_key`]. Memory is taken for those alone that there are.
#[map]
static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(MAX_THREADS, BPF_F_NO_PREALLOC);

/// Targets, by pid.
#[map]
static PROCESSES: HashMap<u32, Process> =
    HashMap::with_max_entries(MAX_PROCESSES, BPF_F_NO_PREALLOC);

/// Which process an address space belongs to, by `mm_id` of `kmem:rss_stat`.
#[map]
pub(crate) static SPACES: HashMap<u32, u32> = HashMap::with_max_entries(MAX_PROCESSES, 0);

/// A word in memory that programs on several processors use at the same time. It is read and written
/// whole, which is all that is asked of it: no two of them belong together. The
/// kernel's memory model calls such accesses marked ones (`READ_ONCE`, `WRITE_ONCE`;
/// tools/memory-model/Documentation/access-marking.txt).
#[repr(transparent)]
pub(crate) struct Shared<T>(UnsafeCell<T>);

// SAFETY: to be used by several programs at a time is what it is for.
unsafe impl<T: Copy> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    #[inline(always)]
    pub(crate) fn get(&self) -> T {
        // SAFETY: the value lives as long as this reference, and nothing but these two functions
        // uses it: no reference to it exists that another program's write could contradict.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: T) {
        // SAFETY: as in `get`.
        unsafe { self.0.get().write_volatile(value) }
    }
}

/// A captured stack, as events name it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Captured {
    /// Its id, 0 where there is none.
    pub(crate) id: u64,
    /// Bits for the event's header.
    pub(crate) flags: u16,
}

/// A captured stack that several programs use at the same time.
#[repr(C)]
pub(crate) struct SharedCaptured {
    id: Shared<u64>,
    flags: Shared<u16>,
}

impl SharedCaptured {
    #[inline(always)]
    pub(crate) fn get(&self) -> Captured {
        Captured {
            id: self.id.get(),
            flags: self.flags.get(),
        }
    }

    #[inline(always)]
    pub(crate) fn set(&self, captured: Captured) {
        self.id.set(captured.id);
        self.flags.set(captured.flags);
    }
}

/// What the kernel had counted, likewise.
#[repr(C)]
pub(crate) struct SharedCounts {
    resident_peak: Shared<u64>,
    virtual_peak: Shared<u64>,
    stack: Shared<u64>,
}

impl SharedCounts {
    #[inline(always)]
    pub(crate) fn get(&self) -> KernelCounts {
        KernelCounts {
            resident_peak: self.resident_peak.get(),
            virtual_peak: self.virtual_peak.get(),
            stack: self.stack.get(),
        }
    }

    #[inline(always)]
    pub(crate) fn set(&self, counts: KernelCounts) {
        self.resident_peak.set(counts.resident_peak);
        self.virtual_peak.set(counts.virtual_peak);
        self.stack.set(counts.stack);
    }
}

/// A process, which has several threads.
#[repr(C)]
pub(crate) struct Process {
    /// The process whose memory it runs in: itself, but for a vfork child.
    pub(crate) space: Shared<u32>,
    /// `mm_id` of its address space, 0 until seen.
    pub(crate) mm_id: Shared<u32>,
    /// `struct mm_struct` of the image before, until an exec is done: its last
    /// counters must not be taken for the new one's.
    pub(crate) old_mm: Shared<u64>,
    /// Until then, who touches the new image: the caller of the exec, in the old
    /// one. The thread's registers are of that, too, and mean nothing in the new.
    pub(crate) exec: SharedCaptured,
    /// 1: it has its memory from a fork.
    pub(crate) forked: Shared<u64>,
    /// When its image began: addresses mean other modules in another image.
    pub(crate) image: Shared<u64>,
    /// Bytes by `RssCounter`, as the kernel last said.
    pub(crate) sizes: [Shared<u64>; SIZES],
    /// Up to Linux 6.1: the part of `sizes` that the kernel told of, in bytes, …
    pub(crate) told: [Shared<u64>; COUNTERS],
    /// (1 in `has_told`: it is known) …
    pub(crate) has_told: Shared<u64>,
    /// … and the pages that threads have counted and not told of yet.
    pub(crate) untold: [Shared<i64>; COUNTERS],
    /// Its memory as it was when it was last seen to be about to leave it.
    pub(crate) leaving: Leaving,
}

/// Room for as many sizes as `RssCounter` has, rounded up so that a mask bounds an index.
pub(crate) const SIZES: usize = 8;
const _: () =
    assert!(<RssCounter as tracer_ebpf::Named>::ALL.len() <= SIZES && SIZES.is_power_of_two());

/// The kernel's counters of a memory: file, anon, swap, shmem (mm_types_task.h).
pub(crate) const COUNTERS: usize = 4;

/// What a process was when it entered an exec or an exit, or got a signal that may end it.
/// Up to Linux 6.15 its memory is gone by the time at which its end is told.
#[repr(C)]
pub(crate) struct Leaving {
    /// `struct mm_struct`; 0: nothing was noted.
    pub(crate) mm: Shared<u64>,
    /// What the kernel had counted.
    pub(crate) counts: SharedCounts,
    /// Who did it.
    pub(crate) caller: SharedCaptured,
    /// 1: by an exec.
    pub(crate) by_exec: Shared<u32>,
    /// The [`thread_key`] of the thread that did: one that execs takes its leader's id.
    pub(crate) key: Shared<u32>,
    /// The thread's id, as the tracer's pid namespace has it.
    pub(crate) tid: Shared<u32>,
    /// Zero.
    pub(crate) _pad: u32,
}

/// A call of the malloc family that is under way.
#[repr(C)]
pub(crate) struct Call {
    /// Stack pointer at the entry of the outermost call; 0: none is under way.
    pub(crate) sp: Cell<u64>,
    /// Requested size in bytes.
    pub(crate) size: Cell<u64>,
    /// realloc: the old block; posix_memalign: where the result goes.
    pub(crate) pointer: Cell<u64>,
    /// Stack at the entry.
    pub(crate) stack: Cell<u64>,
    /// A `Function`.
    pub(crate) function: Cell<u32>,
    /// Header flags that go with the stack.
    pub(crate) flags: Cell<u32>,
}

/// A memory system call that is under way.
#[repr(C)]
pub(crate) struct Syscall {
    /// Its number, or [`NO_SYSCALL`].
    pub(crate) number: Cell<u32>,
    /// Header flags of its events.
    pub(crate) flags: Cell<u32>,
    /// Stack at the entry.
    pub(crate) stack: Cell<u64>,
    /// When it was entered.
    pub(crate) began: Cell<u64>,
    /// Its arguments.
    pub(crate) args: [Cell<u64>; 6],
}

/// The last page fault.
#[repr(C)]
pub(crate) struct Fault {
    /// Faulting address.
    pub(crate) address: Cell<u64>,
    /// When it was taken.
    pub(crate) began: Cell<u64>,
    /// Faults completed before it; see `kernel::completed_faults`.
    pub(crate) completed: Cell<u64>,
    /// Stack of the toucher, once captured.
    pub(crate) stack: Cell<u64>,
    /// x86 error code.
    pub(crate) error_code: Cell<u16>,
    /// A `Cause`, or 0: no fault yet.
    pub(crate) cause: Cell<u16>,
    /// Header flags that go with the stack.
    pub(crate) flags: Cell<u16>,
    /// 1: `stack` and `flags` are set.
    pub(crate) captured: Cell<u16>,
}

impl Fault {
    /// The last one was completed: the cause of a change is the system call.
    #[inline(always)]
    pub(crate) fn forget(&self) {
        self.address.set(0);
        self.began.set(0);
        self.completed.set(u64::MAX);
        self.stack.set(0);
        self.error_code.set(0);
        self.cause.set(Cause::Syscall as u16);
        self.flags.set(0);
        self.captured.set(0);
    }
}

/// A thread. Only programs that it runs itself use it, one at a time: but for `busy`, which the
/// page fault asks for that such a program causes.
#[repr(C)]
pub(crate) struct Thread {
    /// Its process, as the tracer's pid namespace has it.
    pub(crate) pid: Cell<u32>,
    /// Its own id, likewise.
    pub(crate) tid: Cell<u32>,
    /// The process whose memory it runs in, see [`Process::space`].
    pub(crate) space: Cell<u32>,
    /// 1 while a program reads this thread's memory: a fault that this causes
    /// is the program's, not the thread's.
    busy: Shared<u32>,
    /// Seed of its stack ids.
    pub(crate) seed: Cell<u64>,
    /// Where a function with a pending return probe returns to; 0 until known.
    pub(crate) trampoline: Cell<u64>,
    /// Events sent, to look at the ring buffer only now and then.
    sent: Cell<u64>,
    /// Call of the malloc family.
    pub(crate) call: Call,
    /// Memory system call.
    pub(crate) syscall: Syscall,
    /// Page fault.
    pub(crate) fault: Fault,
    /// Up to Linux 6.1: pages that it has counted and its memory's counters lack, as last seen.
    pub(crate) untold: [Cell<i32>; COUNTERS],
}

// SAFETY: the map of threads has one for each, by its key, and only programs that this thread runs
// look it up; one that a page fault starts within another touches nothing but `busy`.
unsafe impl Sync for Thread {}

/// What a new process is copied from: zeros.
#[map]
static NEW_PROCESS: Array<Process> = Array::with_max_entries(1, 0);

/// What a new thread is copied from: zeros, too large for a stack that is shared with a walk.
#[map]
static NEW_THREAD: Array<Thread> = Array::with_max_entries(1, 0);

/// [`Syscall::number`] where none is under way.
pub(crate) const NO_SYSCALL: u32 = u32::MAX;

/// Whether a process is being recorded.
#[inline(always)]
pub(crate) fn is_active(pid: u32) -> bool {
    // SAFETY: the value is one word; a torn or recycled element is impossible.
    let state = unsafe { TARGETS.get(pid) };
    state == Some(&target::ACTIVE)
}

/// The current thread's state, made if need be; `None` where its process is not
/// traced, or (counted as a loss of the kind of that
/// number) where the table is full.
#[inline(always)]
pub(crate) fn current_thread(kind: u32) -> Option<&'static Thread> {
    // The ids of other processes are told at once where the namespace is the initial one, and
    // cost more to ask for where it is not.
    if config!(namespace_level) != 0
        && let Some(found) = known_thread(thread_key())
    {
        return is_active(found.pid.get()).then_some(found);
    }
    let (pid, tid) = current_ids();
    if !is_active(pid) {
        return None;
    }
    match known_thread(thread_key()) {
        Some(found) => Some(found),
        None => new_thread(pid, tid, kind),
    }
}

/// [`current_thread`] for programs that only the targets run through: the one
/// look-up of the common case is the thread itself, which exists only while
/// its process is traced.
#[inline(always)]
pub(crate) fn probed_thread(kind: Kind) -> Option<&'static Thread> {
    if let Some(found) = known_thread(thread_key()) {
        return Some(found);
    }
    let (pid, tid) = current_ids();
    if !is_active(pid) {
        return None;
    }
    new_thread(pid, tid, kind as u32)
}

/// A thread's state, if there is one, by its [`thread_key`].
#[inline(always)]
pub(crate) fn known_thread(key: u32) -> Option<&'static Thread> {
    // SAFETY: a live element of the map, which stays one while a program that found it runs.
    // References to it are shared ones only, and what changes behind them is in cells.
    THREADS.get_ptr(key).map(|thread| unsafe { &*thread })
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn insert_thread(pid: u32, tid: u32) -> u64 {
    let (space, image) = match process(pid) {
        Some(process) => (process.space.get(), process.image.get()),
        None => (pid, 0),
    };
    let Some(new) = NEW_THREAD.get(0) else {
        return 0;
    };
    // A failure shows in the look-up that follows.
    let key = thread_key();
    let _ = THREADS.insert(key, new, 0);
    let Some(thread) = known_thread(key) else {
        return 0;
    };
    thread.pid.set(pid);
    thread.tid.set(tid);
    thread.space.set(space);
    thread.seed.set((u64::from(space) << 32) ^ image);
    thread.syscall.number.set(NO_SYSCALL);
    1
}

#[inline(always)]
fn new_thread(pid: u32, tid: u32, kind: u32) -> Option<&'static Thread> {
    if insert_thread(pid, tid) == 0 {
        ring::lose_number(Loss::ThreadsFull, kind);
        return None;
    }
    known_thread(thread_key())
}

/// Forgets a thread, by its [`thread_key`].
#[inline(always)]
pub(crate) fn remove_thread(key: u32) {
    // It may never have been seen.
    let _ = THREADS.remove(key);
    unwind::forget_thread(key);
}

/// A process's state, made if need be; `None` where the table is full.
#[inline(always)]
pub(crate) fn process(pid: u32) -> Option<&'static Process> {
    if let Some(found) = known_process(pid) {
        return Some(found);
    }
    add_process(pid, pid);
    known_process(pid)
}

/// A process's state, if there is one.
#[inline(always)]
pub(crate) fn known_process(pid: u32) -> Option<&'static Process> {
    // SAFETY: as in `known_thread`; what changes is `Shared`.
    PROCESSES.get_ptr(pid).map(|process| unsafe { &*process })
}

/// Remembers a process that runs in the memory of `space`. A full table shows
/// in the look-up that follows.
#[inline(always)]
pub(crate) fn add_process(pid: u32, space: u32) {
    // It always is 0: a global function has to return a number.
    let _ = insert_process(pid, space);
}

/// A function of its own, so that what a look-up leaves on the stack is not above a walk.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn insert_process(pid: u32, space: u32) -> u32 {
    if let Some(new) = NEW_PROCESS.get(0) {
        let _ = PROCESSES.insert(pid, new, 0);
    }
    if let Some(process) = known_process(pid) {
        process.space.set(space);
    }
    0
}

/// Forgets a process and whose its address space was.
#[inline(always)]
pub(crate) fn remove_process(pid: u32) {
    if let Some(process) = known_process(pid) {
        forget_space(process.mm_id.get(), pid);
    }
    // It may never have been seen.
    let _ = PROCESSES.remove(pid);
}

/// Forgets an address space, if it is the process's.
#[inline(always)]
pub(crate) fn forget_space(mm_id: u32, pid: u32) {
    // SAFETY: the value is one word.
    if unsafe { SPACES.get(mm_id) } == Some(&pid) {
        let _ = SPACES.remove(mm_id);
    }
}

impl Process {
    /// Resident bytes as the kernel last said: file, anon and shmem.
    #[inline(always)]
    pub(crate) fn resident(&self) -> u64 {
        self.sizes[0].get() + self.sizes[1].get() + self.sizes[3].get()
    }

    /// The size of that number. A member that the kernel may have one day and this does not
    /// know gets room of its own, or another unknown one's.
    #[inline(always)]
    pub(crate) fn size(&self, member: u32) -> &Shared<u64> {
        // Hidden from the compiler, which would compare instead: older verifiers forget what a
        // comparison said once the number has been put on the stack.
        let index = core::hint::black_box(member as usize) & (SIZES - 1);
        // SAFETY: the mask keeps the index in the array.
        unsafe { self.sizes.get_unchecked(index) }
    }
}

impl Thread {
    /// Sends an event of this thread, or counts its loss. Says whether it got through.
    #[inline(always)]
    pub(crate) fn send<T>(&self, kind: Kind, event: &T) -> bool {
        ring::send(self.looks_at_ring(), kind, event)
    }

    /// Whether it is time to look at how full the ring buffer is.
    #[inline(always)]
    pub(crate) fn looks_at_ring(&self) -> bool {
        let sent = self.sent.get().wrapping_add(1);
        self.sent.set(sent);
        sent & (config!(wake_every) - 1) == 0
    }

    /// Marks what follows as this program's own look at user memory: a fault in it
    /// is not the thread's.
    #[inline(always)]
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.set(u32::from(busy));
    }

    /// Whether a program of this thread looks at its memory: this one interrupts it.
    #[inline(always)]
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.get() != 0
    }
}
