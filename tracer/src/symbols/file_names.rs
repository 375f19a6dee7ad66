//! One file: from its offsets to frames.

use super::Frame;
use super::debug_files::{self, DebugFiles};
use super::demangle::{demangle, escape, is_mangled};
use super::dwarf::{DebugFrame, Lookup, Sections};
use super::fde::Functions;
use super::symtab::Symbols;
use crate::files::Elf;
use rustc_hash::FxHashMap;
use std::cell::OnceCell;

/// Debug information of a file.
#[derive(Debug, Default)]
pub(super) struct Debug {
    /// The separate file that holds it.
    file: Option<Elf>,
    sections: Option<Sections>,
}

impl Debug {
    /// What the file that stood at `path` has, or a separate file for it.
    pub(super) fn find(elf: &Elf, path: &str, files: &mut dyn DebugFiles) -> Self {
        let file = debug_files::find(elf, path, files);
        Self::of(elf, file, path, files)
    }

    /// Likewise, given the separate file. Failing that, the file may have packed
    /// symbols.
    pub(super) fn of(elf: &Elf, file: Option<Elf>, path: &str, files: &mut dyn DebugFiles) -> Self {
        let file = file.or_else(|| debug_files::mini(elf));
        let read = |elf: &Elf| {
            let supplementary = debug_files::supplementary(elf, path, files);
            Sections::read(elf, supplementary.as_ref(), |path| {
                debug_files::split(path, files)
            })
        };
        let sections = file.iter().chain([elf]).find_map(read);
        Self { file, sections }
    }
}

/// One file while its addresses are looked up.
pub(super) struct FileNames<'a> {
    name: &'a str,
    symbols: Symbols,
    more_symbols: Option<Symbols>,
    /// Demangled names, by what stands in the file.
    demangled: FxHashMap<Vec<u8>, String>,
}

impl<'a> FileNames<'a> {
    /// Names offsets of a file.
    pub(super) fn resolve(
        elf: &Elf,
        debug: &Debug,
        name: &'a str,
        offsets: Vec<u64>,
    ) -> Vec<(u64, Vec<Frame>)> {
        let mut lookup = debug.sections.as_ref().map(Lookup::new);
        let mut image = Self {
            name,
            symbols: Symbols::read(elf),
            more_symbols: debug.file.as_ref().map(Symbols::read),
            demangled: FxHashMap::default(),
        };
        // Read where something has no name, which most files spare us.
        let functions = OnceCell::new();
        let start = |address: u64| {
            let functions = functions.get_or_init(|| Functions::read(elf));
            functions.as_ref()?.start(address)
        };
        let mut resolve = |offset: u64| {
            let Some(address) = elf.address_of(offset) else {
                return vec![image.unnamed(offset)];
            };
            let debug = lookup.as_mut().map(|lookup| lookup.find(address));
            let mut frames = image.frames(address, debug.unwrap_or_default());
            // A function without a name is one row, wherever it calls from.
            if let [frame] = frames.as_mut_slice()
                && frame.function.is_none()
                && frame.file.is_none()
            {
                frame.offset = start(address).unwrap_or(address);
            }
            frames
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
            let own = frame.function.filter(|name| !name.is_empty());
            let own = own.map(|name| self.demangled(&name));
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
