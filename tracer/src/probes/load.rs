//! Loads the BPF programs: aya for maps and tracepoints, `programs`
//! for the rest.
//!
//! Nothing is pinned: programs, maps and links are held by descriptors of this
//! process, and vanish with it, however it dies.

use super::attach::{Link, Mechanism, Programs};
use super::bpf;
use super::kernel::{Kernel, KernelError, RSS_STAT, page_size};
use super::losses::Losses;
use super::ring::Ring;
use super::table::Program as UprobeProgram;
use super::unwinding::Tables;
use crate::units::{Address, Bytes, Pid, StackId};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, RingBuf, StackTraceMap};
use aya::programs::Program;
use aya::{Ebpf, EbpfLoader};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tracer_ebpf::tables::KernelOffsets;
use tracer_ebpf::{Config, stacks, target};

mod programs;

use programs::Uprobes;

/// The compiled programs, as `cargo xtask ebpf` left them.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../tracer-ebpf/tracer.bpf.o");

/// Raw tracepoints that every kernel has, with the programs of the same name.
const TRACEPOINTS: [&str; 8] = [
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "signal_deliver",
    "page_fault_user",
    "page_fault_kernel",
    "sys_enter",
    "sys_exit",
];

/// Why the programs could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The machine can't trace.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The object as a whole.
    #[error("the BPF object can't be loaded: {0}")]
    Object(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel refused a program.
    #[error("the kernel refused the BPF program {name}: {error}\n{log}")]
    Refused {
        /// The program.
        name: &'static str,
        /// What the kernel said.
        #[source]
        error: io::Error,
        /// The end of the verifier's log.
        log: String,
    },
    /// A program can't be attached.
    #[error("the BPF program {name} can't be attached: {error}")]
    Attach {
        /// The program.
        name: &'static str,
        /// What the kernel said.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The table of targets can't be written.
    #[error("process {} can't be entered into the table of targets: {error}", pid.0)]
    Target {
        /// The process.
        pid: Pid,
        /// What the kernel said.
        #[source]
        error: aya::maps::MapError,
    },
}

/// What to load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Room for events that were not yet read; rounded up to a power of two of
    /// pages.
    pub ring: Bytes,
    /// How the uprobe programs will be attached; `None` loads none of them.
    pub uprobes: Option<Mechanism>,
    /// Sends a copy of the stack with every stack, for checking one unwinder
    /// against another.
    pub copy_all: bool,
    /// How stacks are taken; for comparing what they cost.
    pub stacks: Stacks,
    /// The process that is stopped when another thread of its than the first has executed a
    /// program, until its probes are attached anew.
    pub held: Option<Pid>,
}

/// How stacks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stacks {
    /// By unwind tables.
    Tables,
    /// Those of the malloc family by unwind tables, no others.
    TablesOfCalls,
    /// Those of the malloc family by the kernel's `bpf_get_stackid`, no others.
    Kernel,
    /// No stacks are taken.
    None,
}

impl Stacks {
    /// How the programs are told.
    fn number(self) -> u32 {
        match self {
            Self::Tables => stacks::TABLES,
            Self::TablesOfCalls => stacks::TABLES_OF_CALLS,
            Self::Kernel => stacks::KERNEL,
            Self::None => stacks::NONE,
        }
    }
}

/// The loaded programs. Dropping it detaches the tracepoints and unloads all.
pub struct Loaded {
    ebpf: Ebpf,
    tables: Option<Tables>,
    ring: Option<Ring>,
    uprobes: BTreeMap<UprobeProgram, OwnedFd>,
    rss_stat: Option<Link>,
    prepare_exec: bool,
}

/// What a process in the table of targets is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Launched, and not yet executing the command: recorded from its exec on.
    Waiting,
    /// Recorded from now on.
    Active,
}

/// What takes a while and needs to know nothing: begun while the machine is
/// being looked at.
pub struct Preparation(std::thread::JoinHandle<EbpfLoader<'static>>);

impl Preparation {
    /// Begins. aya reads the kernel's types, whether they are needed or not.
    #[must_use]
    pub fn start() -> Self {
        Self(std::thread::spawn(EbpfLoader::new))
    }

    fn finish<'a>(self) -> EbpfLoader<'a> {
        match self.0.join() {
            Ok(loader) => loader,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Loaded {
    /// Loads every program and creates the maps; nothing is attached yet.
    ///
    /// # Errors
    /// [`LoadError`] says which part the kernel refused, and why.
    pub fn load(
        preparation: Preparation,
        kernel: &Kernel,
        options: Options,
    ) -> Result<Self, LoadError> {
        Self::load_and(preparation, kernel, options, |_| ()).map(|(loaded, ())| loaded)
    }

    /// [`Self::load`], which takes the CPU, while `fill` puts into the unwind
    /// tables what is known already, which takes the kernel some waiting.
    ///
    /// # Errors
    /// [`LoadError`] says which part the kernel refused, and why.
    pub fn load_and<T: Send>(
        preparation: Preparation,
        kernel: &Kernel,
        options: Options,
        fill: impl FnOnce(&mut Tables) -> T + Send,
    ) -> Result<(Self, T), LoadError> {
        let config = configure(kernel.config()?, &options);
        let mut ebpf = make_maps(preparation, kernel, &config, &options)?;
        let uprobes = match options.uprobes {
            Some(mechanism) => Some(Uprobes::new(&ebpf, mechanism.expected_attach_type())?),
            None => None,
        };
        let mut tables = Tables::new(&mut ebpf).map_err(object_error)?;
        let events = ebpf.take_map("EVENTS").ok_or_else(|| missing("EVENTS"))?;
        let prepare_exec = config.prepare_exec != 0;
        std::thread::scope(|scope| {
            let filled = scope.spawn(|| fill(&mut tables));
            // Before anything is attached, which would be told of each of its pages.
            let ring = scope.spawn(|| map_ring(events));
            let uprobes = programs::load(&mut ebpf, prepare_exec, uprobes.as_ref())?;
            let (ring, filled) = (join(ring)?, join(filled));
            Ok((ring, uprobes, filled))
        })
        .map(|(ring, uprobes, filled)| {
            let loaded = Self {
                ebpf,
                tables: Some(tables),
                ring: Some(ring),
                uprobes,
                rss_stat: None,
                prepare_exec,
            };
            (loaded, filled)
        })
    }

    /// The uprobe programs for `attach`, if they were loaded.
    #[must_use]
    pub fn uprobes(&self) -> Option<Programs<'_>> {
        let program = |program| self.uprobes.get(&program).map(AsFd::as_fd);
        Some(Programs {
            alloc_enter: program(UprobeProgram::AllocEnter)?,
            alloc_exit: program(UprobeProgram::AllocExit)?,
            free_enter: program(UprobeProgram::FreeEnter)?,
        })
    }

    /// Attaches the tracepoints. Only processes in the table of targets are
    /// recorded; put the first one in before.
    ///
    /// # Errors
    /// [`LoadError::Attach`]. That `kmem:rss_stat` can't be found is none: see
    /// [`Self::counts_pages`].
    pub fn attach(&mut self, kernel: &Kernel) -> Result<(), LoadError> {
        for name in tracepoints(self.prepare_exec) {
            let attach_error = |error: aya::programs::ProgramError| LoadError::Attach {
                name,
                error: error.into(),
            };
            let program = self.ebpf.program_mut(name).ok_or_else(|| missing(name))?;
            if let Program::RawTracePoint(program) = program {
                program.attach(name).map_err(attach_error)?;
            }
        }
        let Ok(id) = kernel.tracepoint_id(RSS_STAT) else {
            return Ok(());
        };
        let program = program_fd(&self.ebpf, "rss_stat")?;
        let event = bpf::attach_tracepoint(program, id).map_err(|error| LoadError::Attach {
            name: "rss_stat",
            error: error.into(),
        })?;
        self.rss_stat = Some(event.into());
        Ok(())
    }

    /// Whether resident memory is followed: the kernel has a tracepoint for it,
    /// and the tracefs that tells its number could be opened.
    #[must_use]
    pub fn counts_pages(&self) -> bool {
        self.rss_stat.is_some()
    }

    /// Enters a process into the table of targets; its children follow by
    /// themselves.
    ///
    /// # Errors
    /// [`LoadError::Target`] where the table is full.
    pub fn add_target(&mut self, pid: Pid, state: TargetState) -> Result<(), LoadError> {
        let value = match state {
            TargetState::Waiting => target::WAITING,
            TargetState::Active => target::ACTIVE,
        };
        let inserted = self.targets(pid)?.insert(pid.0, value, 0);
        inserted.map_err(|error| LoadError::Target { pid, error })
    }

    /// Whether the table has any process left. Each leaves it when the last of its
    /// events was sent.
    #[must_use]
    pub fn has_targets(&self) -> bool {
        let targets = self.ebpf.map("TARGETS");
        let targets = targets.map(HashMap::<_, u32, u32>::try_from);
        !matches!(targets, Some(Ok(targets)) if targets.keys().next().is_none())
    }

    /// What holds the tracepoint whose end takes the kernel long, to be detached
    /// together with the uprobes.
    pub fn slow_link(&mut self) -> Option<Link> {
        self.rss_stat.take()
    }

    /// Takes a process out of the table: nothing more is recorded of it.
    ///
    /// # Errors
    /// [`LoadError::Target`] for another reason than that it isn't there.
    pub fn remove_target(&mut self, pid: Pid) -> Result<(), LoadError> {
        match self.targets(pid)?.remove(&pid.0) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(LoadError::Target { pid, error }),
        }
    }

    /// The table of the processes that are followed, to change what it says of one.
    fn targets(&mut self, pid: Pid) -> Result<HashMap<&mut MapData, u32, u32>, LoadError> {
        let map = self.ebpf.map_mut("TARGETS");
        let targets = map.ok_or_else(|| missing("TARGETS"))?.try_into();
        targets.map_err(|error| LoadError::Target { pid, error })
    }

    /// The events' way out. There is one: the second call fails.
    ///
    /// # Errors
    /// [`LoadError::Object`] where it was taken already.
    pub fn ring(&mut self) -> Result<Ring, LoadError> {
        self.ring.take().ok_or_else(|| missing("EVENTS"))
    }

    /// The unwind tables. There is one: the second call gives none.
    pub fn tables(&mut self) -> Option<Tables> {
        self.tables.take()
    }

    /// The frames of a stack that the kernel itself took ([`Stacks::Kernel`]).
    #[must_use]
    pub fn stack_by_kernel(&self, id: StackId) -> Option<Vec<Address>> {
        let map = StackTraceMap::try_from(self.ebpf.map("KERNEL_STACKS")?).ok()?;
        let trace = map.get(&u32::try_from(id.0).ok()?, 0).ok()?;
        let frames = trace.frames().iter();
        Some(frames.map(|frame| Address(frame.ip)).collect())
    }

    /// The counters of what was lost. There is one: the second call fails.
    ///
    /// # Errors
    /// [`LoadError::Object`] where it was taken already.
    pub fn losses(&mut self) -> Result<Losses, LoadError> {
        let map = self
            .ebpf
            .take_map("LOSSES")
            .ok_or_else(|| missing("LOSSES"))?;
        let counts: PerCpuArray<MapData, u64> = map.try_into().map_err(object_error)?;
        let rss_stat = program_fd(&self.ebpf, "rss_stat")?;
        let rss_stat = rss_stat.try_clone_to_owned().map_err(object_error)?;
        Ok(Losses::new(counts, rss_stat))
    }
}

/// Makes the maps of the object, and aims its programs at them.
fn make_maps(
    preparation: Preparation,
    kernel: &Kernel,
    config: &Config,
    options: &Options,
) -> Result<Ebpf, LoadError> {
    let kernel_stacks = match options.stacks {
        // It keeps one stack of each hash, and refuses others.
        Stacks::Kernel => 1 << 18,
        _ => 1,
    };
    let offsets = kernel.unwind_offsets()?;
    preparation
        .finish()
        // The programs have no CO-RE relocations: their offsets come from us.
        .btf(None)
        .map_max_entries("EVENTS", ring_bytes(options.ring))
        .map_max_entries("KERNEL_STACKS", kernel_stacks)
        .override_global("CONFIG", bytes_of(config), true)
        .override_global("OFFSETS", bytes_of(&offsets), true)
        .load(OBJECT)
        .map_err(object_error)
}

fn map_ring(events: Map) -> Result<Ring, LoadError> {
    let ring: RingBuf<MapData> = events.try_into().map_err(object_error)?;
    Ring::new(ring).map_err(object_error)
}

fn object_error(error: impl std::error::Error + Send + Sync + 'static) -> LoadError {
    LoadError::Object(error.into())
}

fn missing(name: &str) -> LoadError {
    LoadError::Object(format!("it has no {name}, or it was taken already").into())
}

/// The tracepoints that this kernel has.
fn tracepoints(prepare_exec: bool) -> impl Iterator<Item = &'static str> {
    let newer = prepare_exec.then_some("sched_prepare_exec");
    TRACEPOINTS.into_iter().chain(newer)
}

fn program_fd<'a>(ebpf: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>, LoadError> {
    let fd = match ebpf.program(name) {
        Some(Program::TracePoint(program)) => program.fd().map_err(object_error)?,
        _ => return Err(missing(name)),
    };
    Ok(fd.as_fd())
}

/// The size that the kernel takes: a power of two of pages.
fn ring_bytes(wanted: Bytes) -> u32 {
    const MAX: u64 = 1 << 30;
    let bytes = wanted.0.clamp(page_size(), MAX).next_power_of_two();
    u32::try_from(bytes).unwrap_or(1 << 30)
}

/// The reader comes by itself every few milliseconds; it is woken when a
/// quarter is full, which is looked at in one event of 32 where that leaves
/// enough room, and in every event of a tiny buffer.
fn configure(config: Config, options: &Options) -> Config {
    const ROOMY: u32 = 1 << 20;
    let ring_bytes = ring_bytes(options.ring);
    Config {
        wake_bytes: u64::from(ring_bytes / 4),
        wake_every: if ring_bytes >= ROOMY { 32 } else { 1 },
        copy_all: u32::from(options.copy_all),
        stacks: options.stacks.number(),
        held: options.held.map_or(0, |pid| pid.0),
        ..config
    }
}

/// What the kernel copies as it is.
trait Plain {}
impl Plain for Config {}
impl Plain for KernelOffsets {}

fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    let bytes = std::ptr::from_ref(value).cast::<u8>();
    // SAFETY: plain integers without implicit padding (the ABI asserts the
    // sizes), so that every byte is initialised.
    unsafe { std::slice::from_raw_parts(bytes, size_of::<T>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_sizes_are_powers_of_two_of_pages() {
        let page = page_size() as u32;
        for (wanted, given) in [
            (0, page),
            (1, page),
            (u64::from(page) + 1, 2 * page),
            (128 << 20, 128 << 20),
            (u64::MAX, 1 << 30),
        ] {
            assert_eq!(ring_bytes(Bytes(wanted)), given);
        }
    }

    #[test]
    fn the_object_has_every_program_and_map() {
        let object = aya_obj::Object::parse(OBJECT).unwrap();
        let uprobes = UprobeProgram::ALL.map(UprobeProgram::name);
        for name in tracepoints(true).chain(uprobes).chain(["rss_stat"]) {
            assert!(object.programs.contains_key(name), "{name}");
        }
        for name in ["EVENTS", "LOSSES", "TARGETS"] {
            assert!(object.maps.contains_key(name), "{name}");
        }
        assert!(!object.has_btf_relocations());
    }
}
