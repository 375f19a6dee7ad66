//! Turns stacks of addresses into stacks of named frames.

use super::Frame;
use super::debug_files;
use super::demangle::{demangle, escape, is_mangled};
use super::dwarf::{DebugFrame, Lookup, Sections};
use super::elf::Elf;
use super::files;
use super::places::{Places, Spot, is_file};
use super::reason::Reason;
use super::source::Source;
use super::symtab::Symbols;
use crate::events::{Captured, Module};
use crate::recording::Symbol;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Files that are kept open for the end of the run. A process has some dozens
/// to hundreds mapped; descriptors are limited (1,024 by default).
const MAX_OPEN: usize = 400;

/// Resolves addresses. Tell it of modules as they are mapped: it opens their
/// files while the process, its mount namespace and the file itself are there.
#[derive(Debug, Default)]
pub struct Symbolizer {
    open: FxHashMap<FileKey, Result<Source, Reason>>,
}

/// What makes a mapped file the same as another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FileKey {
    device: u64,
    inode: u64,
    build_id: String,
    path: String,
}

impl FileKey {
    fn of(module: &Module) -> Self {
        Self {
            device: module.device,
            inode: module.inode,
            build_id: module.build_id.clone(),
            path: module.path.clone(),
        }
    }
}

impl Symbolizer {
    /// Knows no file yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a module's file, if it is not open yet, to be read at the end.
    pub fn open(&mut self, module: &Module) {
        if self.open.len() < MAX_OPEN && is_file(&module.path) {
            let key = FileKey::of(module);
            self.open.entry(key).or_insert_with(|| files::open(module));
        }
    }

    /// Names every place that the stacks' frames point to, each once, files one
    /// after the other. Sorted by place. [`super::SymbolTable::new`] joins the
    /// result with the stacks.
    pub fn resolve(&mut self, stacks: &[Captured], modules: &[Module]) -> Vec<Symbol> {
        let places = Places::new(modules);
        let mut wanted: BTreeMap<Spot, &Module> = BTreeMap::new();
        for stack in stacks {
            let spots = (0..stack.frames.len()).filter_map(|index| places.spot(stack, index));
            wanted.extend(spots);
        }
        let mut symbols = Vec::with_capacity(wanted.len());
        for (number, module) in places.files().iter().enumerate() {
            let of_file = Spot::File(number, 0)..=Spot::File(number, u64::MAX);
            let offsets = wanted.range(of_file).filter_map(|(spot, _)| match spot {
                Spot::File(_, offset) => Some(*offset),
                Spot::Process(..) => None,
            });
            let offsets: Vec<u64> = offsets.collect();
            if offsets.is_empty() {
                continue;
            }
            let found = self.resolve_file(module, offsets);
            symbols.extend(found.into_iter().map(|(offset, frames)| Symbol {
                place: places.place(Spot::File(number, offset)),
                frames,
            }));
        }
        symbols.sort_by(|a, b| a.place.cmp(&b.place));
        symbols
    }

    fn resolve_file(&mut self, module: &Module, offsets: Vec<u64>) -> Vec<(u64, Vec<Frame>)> {
        let opened = self.open.remove(&FileKey::of(module));
        let source = opened.unwrap_or_else(|| files::open(module));
        let elf = source.and_then(|source| files::parse(source, module));
        let name = module_name(&module.path);
        match elf {
            Ok(elf) => Image::resolve(&elf, &module.path, &name, offsets),
            Err(reason) => {
                let frame = |offset| Frame {
                    module: Some(name.clone()),
                    offset,
                    ..reason.frame()
                };
                let failed = |offset| (offset, vec![frame(offset)]);
                offsets.into_iter().map(failed).collect()
            }
        }
    }
}

/// The last part of a path.
pub(super) fn module_name(path: &str) -> String {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    escape(path.rsplit('/').next().unwrap_or(path))
}

/// One file while its addresses are looked up.
pub(super) struct Image<'a> {
    name: &'a str,
    symbols: Symbols,
    more_symbols: Option<Symbols>,
    /// Demangled names, by what stands in the file.
    demangled: FxHashMap<Vec<u8>, String>,
}

impl<'a> Image<'a> {
    /// Names offsets of a file, with the separate debug file if there is one.
    fn resolve(elf: &Elf, path: &str, name: &'a str, offsets: Vec<u64>) -> Vec<(u64, Vec<Frame>)> {
        let debug_file = debug_files::find(elf, path);
        Self::resolve_with(elf, debug_file.as_ref(), path, name, offsets)
    }

    /// Likewise, with a given debug file.
    pub(super) fn resolve_with(
        elf: &Elf,
        debug_file: Option<&Elf>,
        path: &str,
        name: &'a str,
        offsets: Vec<u64>,
    ) -> Vec<(u64, Vec<Frame>)> {
        let with_dwarf = debug_file.into_iter().chain([elf]);
        let mut sections = with_dwarf
            .filter_map(|elf| Sections::read(elf, debug_files::supplementary(elf, path).as_ref()));
        let sections = sections.next();
        let mut lookup = sections.as_ref().map(Lookup::new);
        let mut image = Self {
            name,
            symbols: Symbols::read(elf),
            more_symbols: debug_file.map(Symbols::read),
            demangled: FxHashMap::default(),
        };
        let mut resolve = |offset: u64| {
            let Some(address) = elf.address_of(offset) else {
                return vec![image.unnamed(offset)];
            };
            let debug = lookup.as_mut().map(|lookup| lookup.find(address));
            image.frames(address, debug.unwrap_or_default())
        };
        offsets
            .into_iter()
            .map(|offset| (offset, resolve(offset)))
            .collect()
    }

    fn unnamed(&self, offset: u64) -> Frame {
        Frame {
            module: Some(self.name.to_owned()),
            offset,
            ..Frame::default()
        }
    }

    /// What DWARF says. The function itself is named by the symbol table where
    /// DWARF has no mangled name: only such a one has modules and types (line
    /// tables alone leave it out), and of several plain names (`malloc`,
    /// `__GI___libc_malloc`) the symbol table has the public one.
    fn frames(&mut self, address: u64, debug: Vec<DebugFrame>) -> Vec<Frame> {
        let outermost = debug.len().saturating_sub(1);
        let name = debug.last().and_then(|frame| frame.function.as_ref());
        let mut symbol = match name.is_some_and(|name| is_mangled(name)) {
            true => None,
            false => self.symbol(address),
        };
        if debug.is_empty() {
            return vec![Frame {
                function: symbol,
                ..self.unnamed(address)
            }];
        }
        let mut frames = Vec::with_capacity(debug.len());
        for (index, frame) in debug.into_iter().enumerate() {
            let symbol = symbol.take_if(|_| index == outermost);
            let own = frame.function.map(|name| self.demangled(&name));
            frames.push(Frame {
                function: symbol.or(own),
                file: frame.file.as_deref().map(escape),
                line: frame.line,
                inlined: index != outermost,
                ..self.unnamed(address)
            });
        }
        frames
    }

    fn symbol(&mut self, address: u64) -> Option<String> {
        let tables = self.more_symbols.iter().chain([&self.symbols]);
        let name = tables
            .filter_map(|symbols| Some(symbols.name(symbols.find(address)?)))
            .next()?
            .to_vec();
        Some(self.demangled(&name))
    }

    fn demangled(&mut self, name: &[u8]) -> String {
        if let Some(known) = self.demangled.get(name) {
            return known.clone();
        }
        let readable = demangle(name);
        self.demangled.insert(name.to_vec(), readable.clone());
        readable
    }
}
