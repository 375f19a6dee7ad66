//! Has the kernel verify and compile the programs. It does so on the thread
//! that asks for it: all CPUs take part.

use super::super::bpf::{self, ProgramToLoad};
use super::super::table::Program as UprobeProgram;
use super::{LoadError, OBJECT, missing, object_error, tracepoints};
use aya::Ebpf;
use aya::programs::Program;
use aya_obj::Object;
use aya_obj::generated::bpf_prog_type;
use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// A program that is not loaded yet.
enum Job<'a> {
    Tracepoint(&'static str, &'a mut Program),
    Uprobe(&'a Uprobes, UprobeProgram),
}

/// Loads the tracepoints' programs, and the uprobes' if there are any, which it
/// returns: aya keeps the others.
pub(super) fn load(
    ebpf: &mut Ebpf,
    prepare_exec: bool,
    uprobes: Option<&Uprobes>,
) -> Result<BTreeMap<UprobeProgram, OwnedFd>, LoadError> {
    let mut jobs = of_tracepoints(ebpf, prepare_exec)?;
    if let Some(uprobes) = uprobes {
        jobs.extend(UprobeProgram::ALL.map(|program| Job::Uprobe(uprobes, program)));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(jobs.len());
    let jobs = Mutex::new(jobs);
    std::thread::scope(|scope| {
        let work = || load_each(&jobs);
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut loaded = work()?;
        for other in others {
            loaded.append(&mut super::join(other)?);
        }
        Ok(loaded)
    })
}

/// The programs of the tracepoints that this kernel has.
fn of_tracepoints(ebpf: &mut Ebpf, prepare_exec: bool) -> Result<Vec<Job<'_>>, LoadError> {
    let mut wanted: Vec<&'static str> = tracepoints(prepare_exec).chain(["rss_stat"]).collect();
    let mut jobs = Vec::with_capacity(wanted.len());
    for (name, program) in ebpf.programs_mut() {
        if let Some(at) = wanted.iter().position(|&wanted| wanted == name) {
            jobs.push(Job::Tracepoint(wanted.swap_remove(at), program));
        }
    }
    match wanted.first() {
        Some(name) => Err(missing(name)),
        None => Ok(jobs),
    }
}

/// Loads programs until none is left.
fn load_each(jobs: &Mutex<Vec<Job<'_>>>) -> Result<BTreeMap<UprobeProgram, OwnedFd>, LoadError> {
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut loaded = BTreeMap::new();
    while let Some(job) = next() {
        match job {
            Job::Tracepoint(name, program) => load_tracepoint(name, program)?,
            Job::Uprobe(uprobes, program) => {
                loaded.insert(program, uprobes.load(program)?);
            }
        }
    }
    Ok(loaded)
}

fn load_tracepoint(name: &'static str, program: &mut Program) -> Result<(), LoadError> {
    let loaded = match program {
        Program::RawTracePoint(program) => program.load(),
        Program::TracePoint(program) => program.load(),
        _ => return Err(missing(name)),
    };
    loaded.map_err(|error| refused(name, error))
}

fn refused(name: &'static str, error: aya::programs::ProgramError) -> LoadError {
    use aya::programs::ProgramError::LoadError as Refused;
    match error {
        Refused {
            io_error,
            verifier_log,
        } => LoadError::Refused {
            name,
            error: io_error,
            log: bpf::end_of_log(&verifier_log.to_string()),
        },
        other => LoadError::Attach {
            name,
            error: other.into(),
        },
    }
}

/// The uprobe programs, on the maps that aya made.
pub(super) struct Uprobes {
    object: Object,
    types: OwnedFd,
    attach_type: u32,
}

impl Uprobes {
    pub(super) fn new(ebpf: &Ebpf, attach_type: u32) -> Result<Self, LoadError> {
        let mut object = Object::parse(OBJECT).map_err(object_error)?;
        let definitions = std::mem::take(&mut object.maps);
        let maps = definitions.iter().filter_map(|(name, definition)| {
            let fd = map_fd(ebpf.map(name)?)?;
            Some((name.as_str(), fd.as_raw_fd(), definition))
        });
        let sections: HashSet<usize> = object
            .functions
            .keys()
            .map(|&(section, _)| section)
            .collect();
        object
            .relocate_maps(maps, &sections)
            .map_err(object_error)?;
        object.relocate_calls(&sections).map_err(object_error)?;
        let types = load_types(&mut object)?;
        Ok(Self {
            object,
            types,
            attach_type,
        })
    }

    fn load(&self, program: UprobeProgram) -> Result<OwnedFd, LoadError> {
        let types = self.types.as_fd();
        load_uprobe(&self.object, types, program.name(), self.attach_type)
    }
}

/// Loads the object's own types, as far as this kernel understands them.
fn load_types(object: &mut Object) -> Result<OwnedFd, LoadError> {
    let none = || LoadError::Object("it or this kernel has no BTF".into());
    let features = aya::features().btf().ok_or_else(none)?;
    let btf = object
        .fixup_and_sanitize_btf(features)
        .map_err(object_error)?;
    let bytes = btf.ok_or_else(none)?.to_bytes();
    bpf::load_types(&bytes).map_err(object_error)
}

fn load_uprobe(
    object: &Object,
    types: BorrowedFd<'_>,
    name: &'static str,
    attach_type: u32,
) -> Result<OwnedFd, LoadError> {
    let program = object.programs.get(name).ok_or_else(|| missing(name))?;
    let function = object.functions.get(&program.function_key());
    let function = function.ok_or_else(|| missing(name))?;
    bpf::load(&ProgramToLoad {
        name,
        kind: bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32,
        attach_type,
        license: &object.license,
        code: &function.instructions,
        types,
        functions: &function.func_info.func_info,
    })
    .map_err(|refused| LoadError::Refused {
        name,
        error: refused.error,
        log: refused.log,
    })
}

/// The descriptor of a map of one of the kinds that the object has.
fn map_fd(map: &aya::maps::Map) -> Option<BorrowedFd<'_>> {
    use aya::maps::Map;
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::StackTraceMap(data)
        | Map::RingBuf(data) => Some(data.fd().as_fd()),
        _ => None,
    }
}
