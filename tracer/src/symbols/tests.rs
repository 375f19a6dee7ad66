//! Whole images: known frames of small files, and hostile variants of them.
//! `tests/fixtures/README.md` says how the files were made.

use super::debug_files;
use super::debuginfod::Debuginfod;
use super::file_names::{Debug, FileNames};
use crate::files::{Elf, Source};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

/// Segments of the files begin at the same offsets below this address.
const BASE: u64 = 0x40_0000;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).expect("a fixture")
}

fn elf(name: &str) -> Elf {
    Elf::parse(Source::Memory(bytes(name))).expect("ELF")
}

/// Frames at addresses, one text each: inlined ones marked by `<`.
fn frames_of(elf: &Elf, debug: Option<Elf>, addresses: &[u64]) -> Vec<Vec<String>> {
    let debug = Debug::of(elf, debug, "/nowhere/x.elf", &mut Debuginfod::none());
    frames_at(elf, &debug, addresses)
}

fn frames_at(elf: &Elf, debug: &Debug, addresses: &[u64]) -> Vec<Vec<String>> {
    let offsets = addresses.iter().map(|address| address - BASE).collect();
    let found = FileNames::resolve(elf, debug, "x.elf", offsets);
    let text = |frame: &super::Frame| format!("{frame}{}", if frame.inlined { " <" } else { "" });
    found
        .iter()
        .map(|(_, frames)| frames.iter().map(text).collect())
        .collect()
}

/// In `outer`'s inlined body, in `plain`, in `_start` at its call of `outer`,
/// in assembly without a size, between functions, past the code.
const ADDRESSES: [u64; 6] = [
    0x40_1010, 0x40_1036, 0x40_1050, 0x40_1001, 0x40_1025, 0x40_1fff,
];

fn full() -> Vec<Vec<String>> {
    let texts: [&[&str]; 6] = [
        &[
            "innermost:/src/inlined.c:5 <",
            "middle:/src/inlined.c:10 <",
            "outer:/src/inlined.c:14",
        ],
        &["plain:/src/inlined.c:20"],
        &["_start:/src/inlined.c:23"],
        &["assembly"],
        &["x.elf+0x401025"],
        &["x.elf+0x401fff"],
    ];
    texts
        .map(|frames| frames.iter().map(ToString::to_string).collect())
        .to_vec()
}

#[test]
fn inlined_frames_come_innermost_first() {
    for name in ["inlined.elf", "zlib.elf", "zstd.elf", "zdebug.elf"] {
        assert_eq!(frames_of(&elf(name), None, &ADDRESSES), full(), "{name}");
    }
}

#[test]
fn a_symbol_table_alone_names_functions() {
    let frames = frames_of(&elf("symbols-only.elf"), None, &ADDRESSES);
    assert_eq!(
        frames.concat(),
        [
            "outer",
            "plain",
            "_start",
            "assembly",
            "x.elf+0x401025",
            "x.elf+0x401fff"
        ]
    );
}

#[test]
fn a_stripped_file_gives_offsets() {
    let frames = frames_of(&elf("stripped.elf"), None, &ADDRESSES[..2]);
    assert_eq!(frames.concat(), ["x.elf+0x401010", "x.elf+0x401036"]);
}

#[test]
fn a_stripped_file_may_have_its_symbols_packed() {
    let packed = frames_of(&elf("mini.elf"), None, &ADDRESSES);
    assert_eq!(
        packed,
        frames_of(&elf("symbols-only.elf"), None, &ADDRESSES)
    );
}

#[test]
fn a_separate_file_is_found_by_build_id_or_checked_link() {
    let root = tempfile::tempdir().expect("a directory");
    let stripped = elf("stripped.elf");
    let find = || {
        let files = &mut Debuginfod::none();
        debug_files::find_below(root.path(), &stripped, "/opt/app/x.elf", files)
    };
    assert!(find().is_none());

    let id = stripped.build_id().expect("a build-id");
    let by_id = root.path().join(".build-id").join(&id.as_str()[..2]);
    std::fs::create_dir_all(&by_id).expect("made");
    let by_id = by_id.join(format!("{}.debug", &id.as_str()[2..]));
    std::fs::copy(fixture("inlined.debug"), &by_id).expect("copied");
    assert_eq!(frames_of(&stripped, find(), &ADDRESSES), full());
    // A file of that name with another build-id is not it.
    std::fs::write(&by_id, bytes("inlined.debug").split_off(100)).expect("written");
    assert!(find().is_none());

    let by_link = root.path().join("opt/app");
    std::fs::create_dir_all(&by_link).expect("made");
    let by_link = by_link.join("inlined.debug");
    std::fs::copy(fixture("inlined.debug"), &by_link).expect("copied");
    assert_eq!(frames_of(&stripped, find(), &ADDRESSES), full());
    let mut changed = bytes("inlined.debug");
    let last = changed.len() - 1;
    changed[last] ^= 1;
    std::fs::write(&by_link, changed).expect("written");
    assert!(find().is_none(), "the checksum differs");
}

/// Frames of the file whose common entries DWZ moved to another, looked for beside `path`.
fn frames_of_shared(path: &Path) -> Vec<Vec<String>> {
    let dwz = elf("dwz.elf");
    let path = path.to_str().expect("UTF-8");
    let debug = Debug::of(&dwz, None, path, &mut Debuginfod::none());
    frames_at(&dwz, &debug, &[0x40_1001, 0x40_100a, 0x40_102b])
}

#[test]
fn what_dwz_moved_to_a_common_file_is_read_there() {
    let expected = [
        &[
            "shared_by_two::Counter::increment_by(int):/src/shared.cc:8 <",
            "shared_by_two::Counter::increment_often(int):/src/shared.cc:16",
        ][..],
        &["shared_by_two::Counter::increment_often(int):/src/shared.cc:16"],
        &["_start:/src/shared.cc:21"],
    ];
    let addresses = [0x40_1001, 0x40_100a, 0x40_102b];
    assert_eq!(frames_of(&elf("shared.elf"), None, &addresses), expected);
    assert_eq!(frames_of_shared(&fixture("dwz.elf")), expected);
    // Its names are there and nowhere else.
    let lost = frames_of_shared(Path::new("/nowhere/dwz.elf"));
    assert_eq!(lost[2], ["x.elf+0x40102b"]);
}

#[test]
fn a_common_file_is_found_by_build_id_or_name_and_checked() {
    let root = tempfile::tempdir().expect("a directory");
    let dwz = elf("dwz.elf");
    let find = |path: &str| {
        let files = &mut Debuginfod::none();
        debug_files::supplementary_below(root.path(), &dwz, path, files)
    };
    assert!(find("/nowhere/x.elf").is_none());
    let found = find(fixture("x").to_str().expect("UTF-8")).expect("beside the file");
    let id = found.build_id().expect("a build-id");
    let places = [
        ".dwz/dwz.sup".to_owned(),
        ".dwz/x86_64-linux-gnu/dwz.sup".to_owned(),
        format!(
            ".build-id/{}/{}.debug",
            &id.as_str()[..2],
            &id.as_str()[2..]
        ),
    ];
    for place in places.map(|place| root.path().join(place)) {
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("made");
        std::fs::copy(fixture("dwz.sup"), &place).expect("copied");
        assert!(find("/nowhere/x.elf").is_some(), "{}", place.display());
        std::fs::copy(fixture("inlined.debug"), &place).expect("copied");
        assert!(find("/nowhere/x.elf").is_none(), "another file");
        std::fs::remove_file(place).expect("removed");
    }
    // A file that was opened through a link has it beside where it truly is.
    let (there, link) = (root.path().join("dwz.elf"), root.path().join("a.link"));
    for name in ["dwz.elf", "dwz.sup"] {
        std::fs::copy(fixture(name), root.path().join(name)).expect("copied");
    }
    std::os::unix::fs::symlink(&there, &link).expect("linked");
    let file = std::fs::File::open(&link).expect("opened");
    let length = file.metadata().expect("known").len();
    let opened = Elf::parse(Source::File(file, length)).expect("ELF");
    let found = debug_files::supplementary_below(
        Path::new("/nowhere"),
        &opened,
        "/nowhere/x",
        &mut Debuginfod::none(),
    );
    assert!(found.is_some());
}

#[test]
fn a_file_cut_short_anywhere_is_no_panic() {
    let whole = bytes("inlined.elf");
    for length in (0..whole.len()).step_by(7) {
        resolve_hostile(whole[..length].to_vec());
    }
}

/// Resolves every address of the code; whatever comes out, it comes out.
fn resolve_hostile(bytes: Vec<u8>) {
    if let Ok(elf) = Elf::parse(Source::Memory(bytes)) {
        let offsets: Vec<u64> = (0x1000..0x1060).chain([0, u64::MAX, 1 << 40]).collect();
        let count = offsets.len();
        let debug = Debug::of(&elf, None, "/nowhere/x.elf", &mut Debuginfod::none());
        let found = FileNames::resolve(&elf, &debug, "x.elf", offsets);
        assert_eq!(found.len(), count);
        assert!(found.iter().all(|(_, frames)| !frames.is_empty()));
    }
}

/// An ELF file of nothing but debug sections, its addresses those of its bytes.
fn image(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut names = vec![0];
    let mut body: Vec<u8> = Vec::new();
    let mut headers = vec![0; 64];
    let strings = [(".shstrtab", Vec::new())];
    for (name, content) in sections.iter().chain(&strings) {
        let name_at = names.len() as u32;
        names.extend(name.bytes().chain([0]));
        let content = if content.is_empty() { &names } else { content };
        let mut header = Vec::new();
        header.extend(name_at.to_le_bytes());
        header.extend(1_u32.to_le_bytes());
        for number in [0, 0, 120 + body.len() as u64, content.len() as u64, 0, 0, 0] {
            header.extend(number.to_le_bytes());
        }
        headers.extend(&header[..64]);
        body.extend(content);
    }
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(18, 0);
    file.extend(crate::arch::ELF_MACHINE.to_le_bytes());
    file.resize(32, 0);
    file.extend(64_u64.to_le_bytes());
    file.extend((120 + body.len() as u64).to_le_bytes());
    file.resize(54, 0);
    for half in [
        56_u16,
        1,
        64,
        sections.len() as u16 + 2,
        sections.len() as u16 + 1,
    ] {
        file.extend(half.to_le_bytes());
    }
    // One segment: offset 0 at address 0, a terabyte long.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for number in [0, 0, 0, 1_u64 << 40, 1 << 40, 4096] {
        file.extend(number.to_le_bytes());
    }
    file.extend(body);
    file.extend(headers);
    file
}

/// A version 4 unit of entries that the abbreviations below describe.
fn unit(entries: &[u8]) -> Vec<u8> {
    let mut unit = Vec::new();
    unit.extend((entries.len() as u32 + 7).to_le_bytes());
    unit.extend([4, 0, 0, 0, 0, 0, 8]);
    unit.extend(entries);
    unit
}

/// 1: unit, 2: function, 3: inlined function, all with children, a lowest
/// address and a length; 4: inlined function with a range list.
const ABBREVIATIONS: &[u8] = &[
    1, 0x11, 1, 0x11, 1, 0x12, 7, 0, 0, //
    2, 0x2e, 1, 0x11, 1, 0x12, 7, 0, 0, //
    3, 0x1d, 1, 0x11, 1, 0x12, 7, 0, 0, //
    4, 0x1d, 0, 0x55, 0x17, 0, 0, 0,
];

/// An entry from address 0x1000 to 0x2000.
fn entry(code: u8) -> Vec<u8> {
    let mut entry = vec![code];
    entry.extend(0x1000_u64.to_le_bytes());
    entry.extend(0x1000_u64.to_le_bytes());
    entry
}

fn resolve_one(bytes: Vec<u8>) -> Vec<super::Frame> {
    let elf = Elf::parse(Source::Memory(bytes)).expect("ELF");
    let debug = Debug::of(&elf, None, "/nowhere/x.elf", &mut Debuginfod::none());
    let found = FileNames::resolve(&elf, &debug, "x.elf", vec![0x1800]);
    found.into_iter().next().expect("an answer").1
}

#[test]
fn functions_nested_without_end_do_not_overflow_the_stack() {
    let mut entries = [entry(1), entry(2)].concat();
    for _ in 0..300_000 {
        entries.extend(entry(3));
    }
    let sections = [
        (".debug_info", unit(&entries)),
        (".debug_abbrev", ABBREVIATIONS.to_vec()),
    ];
    assert_eq!(resolve_one(image(&sections)).len(), 256);
}

#[test]
fn entries_that_share_a_long_range_list_end_with_the_budget() {
    let mut entries = [entry(1), entry(2)].concat();
    for _ in 0..200_000 {
        entries.extend([4, 0, 0, 0, 0]);
    }
    let mut ranges = Vec::new();
    for begin in 0..200_000_u64 {
        ranges.extend((0x10_0000 + begin * 16).to_le_bytes());
        ranges.extend((0x10_0000 + begin * 16 + 8).to_le_bytes());
    }
    let sections = [
        (".debug_info", unit(&entries)),
        (".debug_abbrev", ABBREVIATIONS.to_vec()),
        (".debug_ranges", ranges),
    ];
    // 4 * 10^10 ranges if there were no end: minutes, and a terabyte.
    assert_eq!(resolve_one(image(&sections)).len(), 1);
}

#[test]
fn units_that_share_a_long_abbreviation_table_end_with_the_budget() {
    let mut abbreviations = ABBREVIATIONS[..ABBREVIATIONS.len() - 1].to_vec();
    for code in 0..500_000_u32 {
        let code = code + (1 << 21);
        abbreviations.extend(
            [0, 7, 14, 21]
                .map(|shift| (code >> shift) as u8 & 0x7f | if shift < 21 { 0x80 } else { 0 }),
        );
        abbreviations.extend([0x2e, 0, 0, 0]);
    }
    abbreviations.push(0);
    let one = unit(&entry(1));
    let info = one
        .iter()
        .copied()
        .cycle()
        .take(one.len() * 100_000)
        .collect();
    let sections = [(".debug_info", info), (".debug_abbrev", abbreviations)];
    assert_eq!(resolve_one(image(&sections)).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_files_give_frames_all_the_same(
        which in 0_usize..3,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = bytes(["inlined.elf", "zlib.elf", "symbols-only.elf"][which]);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        resolve_hostile(bytes);
    }
}
