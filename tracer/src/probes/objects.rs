//! Which files of the target define the malloc family, and where.
//!
//! Before exec they are found from the command's file by the rules of the
//! kernel and of ld.so, without running anything; later from what gets mapped.
//! Several names may share an address (`cfree` is `free`, `aligned_alloc` is
//! `memalign`): there is one probe per file offset, or calls would count twice.

mod identity;
mod loader;
mod program;
mod script;

use super::placement::{self, Entry, Text};
use super::table;
use crate::events::Module;
use crate::files::FileId;
pub use crate::files::elf::Error as ObjectError;
use crate::tracee::command::{Command, Environment};
pub(in crate::probes) use identity::Identities;
pub use identity::file_of;
use program::Program;
use rustc_hash::FxHashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use tracer_ebpf::Function;

/// A file that defines functions of the malloc family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where it can be opened.
    pub path: PathBuf,
    /// Which file it is.
    pub id: FileId,
    /// Where to probe it, one per file offset.
    pub sites: Vec<Site>,
    /// Functions that it chooses at run time (STT_GNU_IFUNC): not probed.
    pub indirect: Vec<Function>,
}

/// Where to probe a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The function.
    pub function: Function,
    /// Offset in the file of its first instruction.
    pub entry: u64,
    /// Offset in the file of the instruction to probe.
    pub offset: u64,
    /// Whether every kernel emulates that instruction.
    pub emulated: bool,
}

/// A command whose program can't be traced.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct CommandError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub error: ObjectError,
}

/// What the user should know.
#[derive(Debug)]
pub enum Note {
    /// No file of the program defines `malloc`: a static program without
    /// symbols, or one with an allocator of its own.
    NoHeap(PathBuf),
    /// Functions that are chosen at run time are not probed.
    Indirect(PathBuf, Vec<Function>),
    /// A file could not be read.
    Unreadable(PathBuf, ObjectError),
}

/// What a command is made of.
#[derive(Debug, Default)]
pub struct Found {
    /// Files to probe.
    pub objects: Vec<Object>,
    /// Every file whose code will run, probed or not: what unwind tables are
    /// prepared for.
    pub files: Vec<PathBuf>,
    /// What to tell the user.
    pub notes: Vec<Note>,
}

/// Finds each file once, however often it is mapped.
#[derive(Debug, Default)]
pub struct Finder {
    /// Files by device and inode, and whether they define `malloc`.
    seen: FxHashMap<FileId, bool>,
}

impl Finder {
    /// What a command will load, before it runs. A command that does not exist
    /// is made of nothing: exec will report it.
    ///
    /// # Errors
    /// Where its program is not one for x86-64.
    pub fn command(
        &mut self,
        command: &Command,
        environment: &Environment,
    ) -> Result<Found, CommandError> {
        let mut found = Found::default();
        for path in script::programs(command, environment) {
            let program = match Program::open(&path) {
                Ok(program) => program,
                Err(error @ (ObjectError::Bits32 | ObjectError::Machine(_))) => {
                    return Err(CommandError { path, error });
                }
                // Exec will say what is wrong, or some binfmt_misc handler will run it.
                Err(_) => continue,
            };
            let mut has_heap = false;
            for program in loader::closure(program, environment) {
                // A file may be known from the program before it (`env` runs another).
                has_heap |= self.add(&program, &mut found);
            }
            if !has_heap {
                found.notes.push(Note::NoHeap(path));
            }
        }
        Ok(found)
    }

    /// A file that was mapped executable, through a path by which this process
    /// can open it. Nothing is found in a file that was seen before.
    pub fn file(&mut self, path: &Path, found: &mut Found) {
        match Program::open(path) {
            Ok(program) => {
                self.add(&program, found);
            }
            Err(ObjectError::NotElf) => {}
            Err(error) => found.notes.push(Note::Unreadable(path.to_owned(), error)),
        }
    }

    /// What was mapped: the files of a process that runs already, or those that
    /// came later than could be foreseen (`dlopen`, another exec).
    pub fn modules(&mut self, modules: &[Module], found: &mut Found) {
        for module in modules {
            if module
                .file()
                .is_none_or(|file| !self.seen.contains_key(&file))
                && let Some(path) = file_of(module)
            {
                self.file(&path, found);
            }
        }
    }

    /// Whether the file defines `malloc`, be it known already or new.
    fn add(&mut self, program: &Program, found: &mut Found) -> bool {
        if let Some(&has_heap) = self.seen.get(&program.id) {
            return has_heap;
        }
        found.files.push(program.path.clone());
        let mut has_heap = false;
        match object(program) {
            Ok(object) => {
                has_heap = object.has_heap();
                if !object.indirect.is_empty() {
                    let note = Note::Indirect(object.path.clone(), object.indirect.clone());
                    found.notes.push(note);
                }
                if !object.sites.is_empty() {
                    found.objects.push(object);
                }
            }
            Err(error) => found
                .notes
                .push(Note::Unreadable(program.path.clone(), error)),
        }
        self.seen.insert(program.id, has_heap);
        has_heap
    }
}

/// What one file defines; no sites if it defines nothing of the family.
///
/// # Errors
/// Where the file can't be read or is not a well-formed one for x86-64.
pub fn inspect(path: &Path) -> Result<Object, ObjectError> {
    object(&Program::open(path)?)
}

fn object(program: &Program) -> Result<Object, ObjectError> {
    let elf = &program.elf;
    let mut entries: Vec<(Function, Entry)> = Vec::new();
    let mut indirect = Vec::new();
    // What other files can't call is only found in the static symbol table.
    let all = program.interpreter.is_some() || elf.is_static()?;
    let rows: Vec<_> = table::functions().collect();
    let names: Vec<_> = rows.iter().map(|row| row.symbol).collect();
    for (row, defined) in rows.iter().zip(elf.define(&names, all)?) {
        for symbol in defined {
            let known = |(_, entry): &(_, Entry)| entry.address == symbol.address;
            if symbol.indirect && !indirect.contains(&row.function) {
                indirect.push(row.function);
            } else if !symbol.indirect && !entries.iter().any(known) {
                let (address, arguments) = (symbol.address, row.arguments);
                entries.push((row.function, Entry { address, arguments }));
            }
        }
    }
    Ok(Object {
        path: program.path.clone(),
        id: program.id,
        sites: sites(program, entries)?,
        indirect,
    })
}

/// Places the probes of one file, one executable segment after the other.
fn sites(program: &Program, mut entries: Vec<(Function, Entry)>) -> Result<Vec<Site>, ObjectError> {
    let mut sites: Vec<Site> = Vec::new();
    while let Some(&(_, first)) = entries.first() {
        let (address, bytes) = program.code(first.address)?;
        let end = address.saturating_add(bytes.len() as u64);
        let (here, elsewhere): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(_, entry)| (address..end).contains(&entry.address));
        if here.is_empty() {
            return Err(ObjectError::Malformed("symbol outside the code"));
        }
        entries = elsewhere;
        let bytes = &bytes;
        let wanted: Vec<_> = here.iter().map(|&(_, entry)| entry).collect();
        let placed = placement::place(Text { bytes, address }, &wanted);
        for ((function, entry), placed) in here.into_iter().zip(placed) {
            let entry = program.code_offset(entry.address);
            let offset = program.code_offset(placed.address);
            let (Some(entry), Some(offset)) = (entry, offset) else {
                return Err(ObjectError::Malformed("symbol outside the code"));
            };
            // Two segments may map the same part of the file.
            if !sites.iter().any(|site| site.offset == offset) {
                sites.push(Site {
                    function,
                    entry,
                    offset,
                    emulated: placed.emulated,
                });
            }
        }
    }
    Ok(sites)
}

impl Object {
    /// Whether it defines `malloc`.
    #[must_use]
    pub fn has_heap(&self) -> bool {
        self.sites
            .iter()
            .any(|site| site.function == Function::Malloc)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeap(path) => write!(
                f,
                "{}: no malloc found (a static program without symbols?): \
                 heap allocations are not traced, mappings and page faults are",
                path.display()
            ),
            Self::Indirect(path, functions) => write!(
                f,
                "{}: {functions:?} chosen at run time (GNU IFUNC): not traced",
                path.display()
            ),
            Self::Unreadable(path, error) => {
                write!(f, "{}: not probed: {error}", path.display())
            }
        }
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
