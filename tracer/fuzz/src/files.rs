//! Files that hold symbols: the mapped one, and those that it names.

use std::io::Write as _;
use std::path::Path;
use tracer::events::{Captured, Module, StackEnd};
use tracer::files::{FileId, Identity};
use tracer::symbols::{SymbolTable, Symbolizer};
use tracer::units::{Address, Bytes, Nanos, Pid, StackId};

/// A stripped file with a debug link and packed symbols; see `tests/fixtures/README.md`.
const STRIPPED: &[u8] = include_bytes!("../../tests/fixtures/mini.elf");
/// The name in its debug link.
const LINKED: &str = "inlined.debug";

/// Names of addresses in a file that its owner made up.
pub fn symbols(data: &[u8]) {
    name_all(data, data, &[]);
}

/// Names of addresses in a file whose symbols are elsewhere. The first byte says where.
pub fn debug_files(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else {
        return;
    };
    match how % 4 {
        0 => name_all(&linked(data), data, &[(LINKED, data)]),
        1 => name_all(&with_packed(&xz(data)), data, &[]),
        2 => name_all(&with_packed(data), data, &[]),
        _ => {
            let Some((length, both)) = data.split_first_chunk() else {
                return;
            };
            let length = usize::from(u16::from_le_bytes(*length)).min(both.len());
            let (file, supplementary) = both.split_at(length);
            name_all(file, both, &[("dwz.sup", supplementary)]);
        }
    }
}

/// The stripped file, with the checksum of this debug file in its link.
fn linked(debug: &[u8]) -> Vec<u8> {
    let mut file = STRIPPED.to_vec();
    let name = find(&file, LINKED.as_bytes());
    let checksum = name + (LINKED.len() + 1).next_multiple_of(4);
    file[checksum..checksum + 4].copy_from_slice(&crc32fast::hash(debug).to_le_bytes());
    file
}

/// The stripped file, with this as its packed symbols.
fn with_packed(packed: &[u8]) -> Vec<u8> {
    use object::{Object as _, ObjectSection as _};
    let elf = object::File::parse(STRIPPED).expect("ELF");
    let section = elf.section_by_name(".gnu_debugdata").expect("a section");
    let (offset, size) = section.file_range().expect("bytes");
    let mut file = STRIPPED.to_vec();
    let header = find(&file, &place(offset, size));
    file[header..header + 16].copy_from_slice(&place(file_end(), packed.len() as u64));
    file.extend(packed);
    file
}

fn file_end() -> u64 {
    STRIPPED.len() as u64
}

/// A place as a section header has it.
fn place(offset: u64, size: u64) -> [u8; 16] {
    (u128::from(size) << 64 | u128::from(offset)).to_le_bytes()
}

fn find(file: &[u8], bytes: &[u8]) -> usize {
    let mut windows = file.windows(bytes.len());
    windows.position(|window| window == bytes).expect("there")
}

fn xz(data: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(0);
    let mut packer = lzma_rust2::XzWriter::new(Vec::new(), options).expect("a packer");
    packer.write_all(data).expect("packed");
    packer.finish().expect("packed")
}

/// Names addresses all over a file, and those that the input says. Other files lie beside it.
fn name_all(file: &[u8], input: &[u8], others: &[(&str, &[u8])]) {
    let Ok(folder) = tempfile::tempdir() else {
        return;
    };
    let path = folder.path().join("file");
    let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes);
    let beside = |(name, bytes): &(&str, &[u8])| write(&folder.path().join(name), bytes).is_ok();
    if write(&path, file).is_err() || !others.iter().all(beside) {
        return;
    }
    let step = (file.len() as u64 / 32).max(1);
    let words = input.chunks_exact(8).rev().take(64);
    let told =
        words.map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")) & 0xffff_ffff);
    // Across the file, wherever it says, and across the code of `STRIPPED`.
    let offsets = (0..32).map(|index| index * step);
    let code = (0x1000..0x1060).step_by(4);
    resolve(&path, offsets.chain(told).chain(code));
}

fn resolve(path: &Path, offsets: impl Iterator<Item = u64>) {
    let (Ok(found), Some(path)) = (path.metadata(), path.to_str()) else {
        return;
    };
    let module = Module {
        // No process has this id: pid_max is at most 2^22.
        pid: Pid(u32::MAX),
        time: Nanos(0),
        address: Address(0),
        length: Bytes(1 << 32),
        offset: 0,
        path: path.to_owned(),
        identity: Identity {
            file: Some(FileId::of(&found)),
            build_id: None,
        },
    };
    let stack = Captured {
        id: StackId(1),
        pid: module.pid,
        time: Nanos(1),
        end: StackEnd::Complete,
        frames: offsets.map(Address).collect(),
    };
    let stacks = [stack];
    let modules = [module];
    let symbols = Symbolizer::new().resolve(&stacks, &modules);
    let table = SymbolTable::new(&stacks, &modules, symbols);
    for frame in table.frames(StackId(1)) {
        assert!(!frame.to_string().contains('\n'));
    }
}
