//! Which files the dynamic linker will load for a program: the rules of
//! ld.so(8), applied to the files, nothing executed.
//!
//! Where the rules depend on the processor (glibc-hwcaps), all variants are
//! returned: a probe on a file that is not mapped costs nothing.

use super::program::Program;
use crate::arch::{self, VARIANTS};
use crate::files::FileId;
use crate::files::source::{number, text};
use crate::tracee::command::Environment;
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Objects that a program may load before the rest is left to chance.
const MAX_OBJECTS: usize = 4096;
/// Files tried before the rest is left to chance: a hostile program could name
/// thousands of libraries and of directories.
const MAX_TRIES: usize = 100_000;
/// Largest ld.so.cache that is read.
const MAX_CACHE: u64 = 64 << 20;
/// Where glibc's loader looks, once for the folders of Debian's that end in the processor's name.
const GLIBC_DIRECTORIES: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
const MUSL_DIRECTORIES: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];

/// A loaded object and who asked for it.
struct Node {
    program: Program,
    parent: Option<usize>,
}

struct Loader<'a> {
    environment: &'a Environment,
    cache: FxHashMap<Vec<u8>, Vec<PathBuf>>,
    musl: bool,
    tries: Cell<usize>,
    nodes: Vec<Node>,
    names: FxHashSet<Vec<u8>>,
    files: FxHashSet<FileId>,
}

/// The program, its interpreter, and all that they will load, in the order of
/// loading. What can't be found or read is left out: ld.so will say so itself.
pub(super) fn closure(program: Program, environment: &Environment) -> Vec<Program> {
    let interpreter = program.interpreter.clone();
    let musl = interpreter.as_deref().is_some_and(is_musl);
    let mut loader = Loader {
        environment,
        cache: match interpreter.is_some() && !musl {
            true => read_cache(Path::new("/etc/ld.so.cache")),
            false => FxHashMap::default(),
        },
        musl,
        tries: Cell::new(MAX_TRIES),
        nodes: Vec::new(),
        names: FxHashSet::default(),
        files: FxHashSet::default(),
    };
    loader.add(program, None);
    if let Some(path) = interpreter {
        if let Ok(program) = Program::open(&path) {
            loader.add(program, Some(0));
        }
        for name in loader.preloads() {
            loader.load(0, &name);
        }
    }
    let mut next = 0;
    while next < loader.nodes.len() {
        let needed: Vec<_> = loader.nodes[next].program.needed().collect();
        for name in needed {
            loader.load(next, &name);
        }
        next += 1;
    }
    loader.nodes.into_iter().map(|node| node.program).collect()
}

fn is_musl(interpreter: &Path) -> bool {
    let name = interpreter.file_name().unwrap_or_default();
    name.as_bytes().starts_with(b"ld-musl")
}

impl Loader<'_> {
    fn add(&mut self, program: Program, parent: Option<usize>) {
        if self.nodes.len() < MAX_OBJECTS && self.files.insert(program.id) {
            self.nodes.push(Node { program, parent });
        }
    }

    fn load(&mut self, by: usize, name: &[u8]) {
        if self.names.insert(name.to_vec()) {
            for program in self.search(by, name) {
                self.add(program, Some(by));
            }
        }
    }

    /// `/etc/ld.so.preload` and `LD_PRELOAD`.
    fn preloads(&self) -> Vec<Vec<u8>> {
        let variable = self.environment.preload.as_deref().unwrap_or_default();
        let file = match self.musl {
            true => Vec::new(),
            false => std::fs::read("/etc/ld.so.preload").unwrap_or_default(),
        };
        let separator = |byte: &u8| matches!(byte, b':' | b' ' | b'\t' | b'\n');
        variable
            .as_bytes()
            .split(separator)
            .chain(file.split(separator))
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }

    fn open(&self, path: &Path) -> Option<Program> {
        let left = self.tries.get().checked_sub(1)?;
        self.tries.set(left);
        Program::open(path).ok()
    }

    /// The file that a name means to the object that asks for it, with its variants.
    fn search(&self, by: usize, name: &[u8]) -> Vec<Program> {
        if name.contains(&b'/') {
            let path = expand(name, &self.nodes[by].program.path);
            return path
                .and_then(|path| Program::open(&path).ok())
                .into_iter()
                .collect();
        }
        let name = Path::new(OsStr::from_bytes(name));
        for directory in self.directories(by) {
            let found: Vec<_> = VARIANTS
                .iter()
                .chain([&""])
                .filter_map(|variant| self.open(&directory.join(variant).join(name)))
                .collect();
            if !found.is_empty() {
                return found;
            }
        }
        let asks = &self.nodes[by].program;
        if asks.without_default_directories() {
            return Vec::new();
        }
        let cached = self.cache.get(name.as_os_str().as_bytes());
        let found: Vec<_> = cached
            .into_iter()
            .flatten()
            .filter_map(|path| self.open(path))
            .collect();
        if !found.is_empty() {
            return found;
        }
        self.default_directories()
            .iter()
            .find_map(|directory| self.open(&directory.join(name)))
            .into_iter()
            .collect()
    }

    /// RPATH (its own and its loaders', unless it has RUNPATH), LD_LIBRARY_PATH,
    /// RUNPATH. musl reads the variable first and both tags alike.
    fn directories(&self, by: usize) -> Vec<PathBuf> {
        let mut rpath = Vec::new();
        let mut at = Some(by);
        let own_runpath = self.nodes[by].program.runpath();
        while let (Some(index), true) = (at, own_runpath.is_none()) {
            let Node { program, parent } = &self.nodes[index];
            if let (Some(list), None) = (program.rpath(), program.runpath()) {
                rpath.extend(split(&list, &program.path));
            }
            at = *parent;
        }
        let variable = self.environment.library_path.as_deref().unwrap_or_default();
        let from_variable = match variable.is_empty() {
            true => Vec::new(),
            false => split(variable.as_bytes(), &self.nodes[0].program.path),
        };
        let runpath = own_runpath.map(|list| split(&list, &self.nodes[by].program.path));
        let (first, second) = match self.musl {
            true => (from_variable, rpath),
            false => (rpath, from_variable),
        };
        [first, second, runpath.unwrap_or_default()].concat()
    }

    fn default_directories(&self) -> Vec<PathBuf> {
        if !self.musl {
            let debian = ["/lib", "/usr/lib"].map(|lib| Path::new(lib).join(arch::LIBRARY_FOLDER));
            let others = GLIBC_DIRECTORIES.map(PathBuf::from);
            return debian.into_iter().chain(others).collect();
        }
        match std::fs::read(arch::MUSL_PATH_FILE) {
            Ok(list) => list
                .split(|byte| matches!(byte, b':' | b'\n'))
                .filter(|directory| !directory.is_empty())
                .map(|directory| PathBuf::from(OsStr::from_bytes(directory)))
                .collect(),
            Err(_) => MUSL_DIRECTORIES.map(PathBuf::from).to_vec(),
        }
    }
}

/// A list of directories, separated by colons or semicolons; an empty one is
/// the working directory.
fn split(list: &[u8], object: &Path) -> Vec<PathBuf> {
    list.split(|byte| matches!(byte, b':' | b';'))
        .filter_map(|directory| match directory {
            b"" => Some(PathBuf::from(".")),
            _ => expand(directory, object),
        })
        .collect()
}

/// Replaces `$ORIGIN`, `$LIB` and `$PLATFORM`, with braces or without.
fn expand(text: &[u8], object: &Path) -> Option<PathBuf> {
    let origin = std::fs::canonicalize(object).ok();
    let origin = origin.as_deref().and_then(Path::parent);
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'$') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let token = |name: &str| {
            let braced = format!("{{{name}}}");
            rest.strip_prefix(braced.as_bytes())
                .or_else(|| rest.strip_prefix(name.as_bytes()))
        };
        if let Some(after) = token("ORIGIN") {
            out.extend_from_slice(origin?.as_os_str().as_bytes());
            rest = after;
        } else if let Some(after) = token("LIB") {
            // Debian's; others say lib64, where the default directories help.
            out.extend_from_slice(b"lib/");
            out.extend_from_slice(arch::LIBRARY_FOLDER.as_bytes());
            rest = after;
        } else if let Some(after) = token("PLATFORM") {
            out.extend_from_slice(arch::PLATFORM.as_bytes());
            rest = after;
        } else {
            out.push(b'$');
        }
    }
    out.extend_from_slice(rest);
    Some(PathBuf::from(OsStr::from_bytes(&out)))
}

fn read_cache(path: &Path) -> FxHashMap<Vec<u8>, Vec<PathBuf>> {
    let small = path.metadata().is_ok_and(|data| data.len() <= MAX_CACHE);
    let bytes = match small {
        true => std::fs::read(path).unwrap_or_default(),
        false => Vec::new(),
    };
    parse_cache(&bytes)
}

/// The format of glibc's sysdeps/generic/dl-cache.h, alone or behind that of libc5.
fn parse_cache(bytes: &[u8]) -> FxHashMap<Vec<u8>, Vec<PathBuf>> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
    /// FLAG_ELF_LIBC6 | FLAG_X8664_LIB64
    const X86_64: u32 = 0x0303;
    let word = |bytes: &[u8], at| number::<4>(bytes, at).unwrap_or_default() as u32;
    let mut libraries: FxHashMap<_, Vec<_>> = FxHashMap::default();
    let start = match bytes.starts_with(OLD_MAGIC) {
        true => (16 + word(bytes, 12) as usize * 12).next_multiple_of(8),
        false => 0,
    };
    let Some(cache) = bytes.get(start..).filter(|rest| rest.starts_with(MAGIC)) else {
        return libraries;
    };
    let string = |offset: u32| {
        let found = text(cache, offset.into(), cache.len());
        (!found.is_empty()).then_some(found)
    };
    let entries = cache.get(48..).unwrap_or_default().chunks_exact(24);
    for entry in entries.take(word(cache, 20) as usize) {
        let names = (string(word(entry, 4)), string(word(entry, 8)));
        if let (X86_64, (Some(name), Some(path))) = (word(entry, 0), names) {
            let path = PathBuf::from(OsStr::from_bytes(path));
            libraries.entry(name.to_vec()).or_default().push(path);
        }
    }
    libraries
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
