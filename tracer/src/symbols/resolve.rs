//! Turns stacks of addresses into stacks of named frames.

use super::Frame;
use super::debuginfod::Debuginfod;
use super::demangle::escape;
use super::files;
use super::perf_map::{self, PerfMap};
use super::places::{Places, Spot, is_file};
use super::reader::{Reader, Wanted};
use super::reason::Reason;
use crate::events::{Captured, Module};
use crate::files::{Identity, Source};
use crate::recording::{CodeAddress, ResolvedAddress};
use crate::units::{Address, Pid};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::time::{Duration, Instant};

/// Files that are kept open for the end of the run. A process has some dozens
/// to hundreds mapped; descriptors are limited (1,024 by default).
const MAX_OPEN: usize = 400;

/// Processes whose perf maps are kept open.
const MAX_MAPS: usize = 100;

/// How long debug sections are read in all. Each file has its own limit (see
/// `units`), but nothing limits how many files a process maps; those after this
/// time are named by their symbol tables alone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Resolves addresses. Tell it of modules as they are mapped: it opens their
/// files while the process, its mount namespace and the file itself are there.
#[derive(Debug)]
pub struct Symbolizer {
    open: FxHashMap<FileKey, Result<Source, Reason>>,
    /// Processes that run code of no file.
    maps: FxHashMap<Pid, perf_map::MapFile>,
    debuginfod: Debuginfod,
    reader: Reader,
}

impl Default for Symbolizer {
    fn default() -> Self {
        Self::new()
    }
}

/// Who reads files for their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// This process.
    #[default]
    Here,
    /// A process of its own, which may do nothing else: a program with its arguments, which calls
    /// [`serve`](super::serve).
    Apart(Vec<OsString>),
}

/// What makes a mapped file the same as another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FileKey {
    identity: Identity,
    path: String,
}

impl FileKey {
    fn of(module: &Module) -> Self {
        Self {
            identity: module.identity.clone(),
            path: module.path.clone(),
        }
    }
}

impl Symbolizer {
    /// Knows no file yet. Debug files may come from debuginfod's servers, as the
    /// environment says.
    #[must_use]
    pub fn new() -> Self {
        Self {
            open: FxHashMap::default(),
            maps: FxHashMap::default(),
            debuginfod: Debuginfod::from_env(),
            reader: Reader::default(),
        }
    }

    /// Likewise, and has files read as is said.
    #[must_use]
    pub fn reading(naming: &Naming) -> Self {
        Self {
            reader: match naming {
                Naming::Here => Reader::default(),
                Naming::Apart(program) => Reader::apart(program.clone()),
            },
            ..Self::new()
        }
    }

    /// What went wrong while files were read and debug files fetched, a line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.debuginfod.warnings();
        for warning in &mut warnings {
            warning.insert_str(0, "debuginfod: ");
        }
        warnings.extend_from_slice(self.reader.warnings());
        warnings
    }

    /// Opens a module's file, if it is not open yet, to be read at the end.
    pub fn open(&mut self, module: &Module) {
        if self.open.len() < MAX_OPEN && is_file(&module.path) {
            let key = FileKey::of(module);
            self.open.entry(key).or_insert_with(|| files::open(module));
        }
        self.look_for_map(module);
    }

    /// A module's file, if it is open or can be opened still.
    #[must_use]
    pub fn file(&self, module: &Module) -> Option<File> {
        match self.open.get(&FileKey::of(module)) {
            Some(Ok(Source::File(file, _))) => file.try_clone().ok(),
            Some(_) => None,
            None => match files::open(module) {
                Ok(Source::File(file, _)) => Some(file),
                _ => None,
            },
        }
    }

    /// Code of no file may have a perf map, which may come later than the code.
    fn look_for_map(&mut self, module: &Module) {
        let pid = module.pid;
        if let Some(map) = self.maps.get_mut(&pid) {
            map.look(pid);
        } else if !is_file(&module.path) && self.maps.len() < MAX_MAPS {
            let found = perf_map::MapFile::of(pid);
            self.maps.extend(found.map(|source| (pid, source)));
        }
    }

    /// Names every place that the stacks' frames point to, each once, files one
    /// after the other. Sorted by place. [`super::SymbolTable::new`] joins the
    /// result with the stacks.
    pub fn resolve(&mut self, stacks: &[Captured], modules: &[Module]) -> Vec<ResolvedAddress> {
        let places = Places::new(modules);
        let wanted = wanted(&places, stacks);
        let mut symbols = Vec::with_capacity(wanted.len());
        let began = Instant::now();
        for (number, module) in places.files().iter().enumerate() {
            let of_file = Spot::File(number, 0)..=Spot::File(number, u64::MAX);
            let offsets = wanted.range(of_file).filter_map(|spot| match spot {
                Spot::File(_, offset) => Some(*offset),
                Spot::Process(..) => None,
            });
            let offsets: Vec<u64> = offsets.collect();
            if offsets.is_empty() {
                continue;
            }
            // Waiting for servers has its own limit.
            let with_debug = began.elapsed() < PATIENCE + self.debuginfod.waited();
            let found = self.resolve_file(module, offsets, with_debug);
            symbols.extend(found.into_iter().map(|(offset, frames)| ResolvedAddress {
                place: places.place(Spot::File(number, offset)),
                frames,
            }));
        }
        let of_processes = wanted.iter().filter_map(|spot| match spot {
            Spot::Process(pid, address) => Some((*pid, address.0)),
            Spot::File(..) => None,
        });
        symbols.extend(self.resolve_processes(of_processes));
        symbols.sort_by(|a, b| a.place.cmp(&b.place));
        symbols
    }

    /// Names code of no file, process by process.
    fn resolve_processes(
        &mut self,
        wanted: impl Iterator<Item = (Pid, u64)>,
    ) -> Vec<ResolvedAddress> {
        let mut map: Option<(Pid, Option<PerfMap>)> = None;
        let mut symbols = Vec::new();
        for (pid, address) in wanted {
            if map.as_ref().is_none_or(|(of, _)| *of != pid) {
                let source = self.maps.remove(&pid);
                map = Some((pid, source.and_then(|source| source.read(pid))));
            }
            let map = map.as_ref().and_then(|(_, map)| map.as_ref());
            symbols.extend(map.and_then(|map| map.find(address)).map(|name| {
                let place = CodeAddress::Process {
                    pid,
                    address: Address(address),
                };
                let frame = Frame {
                    function: Some(name),
                    offset: address,
                    ..Frame::default()
                };
                ResolvedAddress {
                    place,
                    frames: vec![frame],
                }
            }));
        }
        symbols
    }

    fn resolve_file(
        &mut self,
        module: &Module,
        offsets: Vec<u64>,
        with_debug: bool,
    ) -> Vec<(u64, Vec<Frame>)> {
        let opened = self.open.remove(&FileKey::of(module));
        let wanted = Wanted {
            name: module_name(&module.path),
            path: module.path.clone(),
            expected: files::expected(module).cloned(),
            debug: with_debug,
            offsets,
        };
        let source = opened.unwrap_or_else(|| files::open(module));
        let named =
            source.and_then(|source| self.reader.read(source, &wanted, &mut self.debuginfod));
        named.unwrap_or_else(|reason| {
            let frame = |offset| reason.frame_at(Some(&wanted.name), offset);
            let failed = |&offset| (offset, vec![frame(offset)]);
            wanted.offsets.iter().map(failed).collect()
        })
    }
}

/// Every place that the stacks' frames point to. They are found by a hash first: frames repeat
/// far more often than not.
fn wanted(places: &Places<'_>, stacks: &[Captured]) -> BTreeSet<Spot> {
    let mut found: FxHashSet<Spot> = FxHashSet::default();
    for stack in stacks {
        let spots = (0..stack.frames.len()).filter_map(|index| places.spot(stack, index));
        found.extend(spots.map(|(spot, _)| spot));
    }
    found.into_iter().collect()
}

/// The last part of a path.
pub(super) fn module_name(path: &str) -> String {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    escape(path.rsplit('/').next().unwrap_or(path))
}
