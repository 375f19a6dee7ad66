//! Turns stacks of addresses into stacks of named frames.

use super::debug_files;
use super::demangle::{demangle, escape, is_mangled};
use super::dwarf::{DebugFrame, Lookup, Sections};
use super::elf::Elf;
use super::files;
use super::modules::AddressSpaces;
use super::reason::{self, Reason};
use super::source::Source;
use super::symtab::Symbols;
use super::{Frame, SymbolTable};
use crate::events::{Captured, Module};
use crate::units::Address;
use rustc_hash::FxHashMap;

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

/// Where a frame points: an offset of a file (index into the list of files),
/// or nowhere.
type Place = Result<(usize, u64), Reason>;

impl Symbolizer {
    /// Knows no file yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a module's file, if it is not open yet, to be read at the end.
    pub fn open(&mut self, module: &Module) {
        if self.open.len() < MAX_OPEN {
            let key = FileKey::of(module);
            self.open.entry(key).or_insert_with(|| files::open(module));
        }
    }

    /// Names the frames of all stacks. Each different place of each file is
    /// looked up once, and files are read one after the other.
    pub fn resolve(&mut self, stacks: &[Captured], modules: &[Module]) -> SymbolTable {
        let mut places = Places::new(modules);
        let stacks: Vec<(&Captured, Vec<Place>)> = stacks
            .iter()
            .map(|stack| (stack, places.of_stack(stack)))
            .collect();
        let mut table = SymbolTable::new();
        let mut frames: FxHashMap<(usize, u64), Vec<u32>> = FxHashMap::default();
        for (file, module) in places.files.iter().enumerate() {
            let offsets = std::mem::take(&mut places.wanted[file]);
            for (offset, found) in self.resolve_file(module, offsets) {
                let numbers = found.into_iter().map(|frame| table.intern(frame));
                frames.insert((file, offset), numbers.collect());
            }
        }
        for (stack, places) in stacks {
            let mut numbers = Vec::with_capacity(places.len() + 1);
            for place in places {
                match place {
                    Ok(place) => numbers.extend(&frames[&place]),
                    Err(reason) => numbers.push(table.intern(reason.frame())),
                }
            }
            let outermost = numbers.last().map(|&number| table.frame(number));
            let outermost = outermost.and_then(|frame| frame.function.as_deref());
            let at_entry = outermost.is_some_and(reason::is_entry);
            if let Some(reason) = Reason::of_end(stack.end, at_entry) {
                numbers.push(table.intern(reason.frame()));
            }
            table.insert_numbers(stack.id, numbers);
        }
        table
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
                    module: (reason != Reason::AnonymousCode).then(|| name.clone()),
                    offset,
                    ..reason.frame()
                };
                offsets
                    .into_iter()
                    .map(|offset| (offset, vec![frame(offset)]))
                    .collect()
            }
        }
    }
}

/// The last part of a path.
fn module_name(path: &str) -> String {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    escape(path.rsplit('/').next().unwrap_or(path))
}

/// The files that frames point to, and where into each.
struct Places<'a> {
    spaces: AddressSpaces<'a>,
    files: Vec<&'a Module>,
    wanted: Vec<Vec<u64>>,
    numbers: FxHashMap<FileKey, usize>,
    /// Number of the file of each module.
    of_module: Vec<Option<usize>>,
    seen: FxHashMap<(usize, u64), ()>,
}

impl<'a> Places<'a> {
    fn new(modules: &'a [Module]) -> Self {
        Self {
            spaces: AddressSpaces::new(modules),
            files: Vec::new(),
            wanted: Vec::new(),
            numbers: FxHashMap::default(),
            of_module: vec![None; modules.len()],
            seen: FxHashMap::default(),
        }
    }

    /// All but the first frame are return addresses: the call stands before
    /// them, and may be the last instruction of its function.
    fn of_stack(&mut self, stack: &Captured) -> Vec<Place> {
        let frames = stack.frames.iter().enumerate();
        frames
            .map(|(index, &Address(address))| {
                let address = Address(address.saturating_sub(u64::from(index > 0)));
                self.of_address(stack, address)
            })
            .collect()
    }

    fn of_address(&mut self, stack: &Captured, address: Address) -> Place {
        let index = self.spaces.find(stack.pid, stack.time, address);
        let index = index.ok_or(Reason::UnknownModule)?;
        let module = self.spaces.module(index);
        let offset = (address.0 - module.address.0).wrapping_add(module.offset);
        let file = match self.of_module[index] {
            Some(file) => file,
            None => self.number(index, module),
        };
        if self.seen.insert((file, offset), ()).is_none() {
            self.wanted[file].push(offset);
        }
        Ok((file, offset))
    }

    fn number(&mut self, index: usize, module: &'a Module) -> usize {
        let next = self.files.len();
        let number = *self.numbers.entry(FileKey::of(module)).or_insert(next);
        if number == next {
            self.files.push(module);
            self.wanted.push(Vec::new());
        }
        self.of_module[index] = Some(number);
        number
    }
}

/// One file while its addresses are looked up.
struct Image<'a> {
    name: &'a str,
    symbols: Symbols,
    more_symbols: Option<Symbols>,
    /// Demangled names, by what stands in the file.
    demangled: FxHashMap<Vec<u8>, String>,
}

impl<'a> Image<'a> {
    fn resolve(elf: &Elf, path: &str, name: &'a str, offsets: Vec<u64>) -> Vec<(u64, Vec<Frame>)> {
        let debug_file = debug_files::find(elf, path);
        let debug_file = debug_file.as_ref();
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
