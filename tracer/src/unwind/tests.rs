//! Tables made of hand-written `.eh_frame`.

use super::info::{Section, Segment, UnwindInfo};
use super::known::find;
use super::pack::pack;
use super::table::{Row, Table};
use crate::files::{Elf, Source};
use crate::units::{Bytes, FileOffset, Linked};
use proptest::prelude::*;
use std::borrow::Cow;
use tracer_ebpf::tables::{Rule, bp, cfa, ra};

/// Where the code is loaded, and where it lies in the file.
const CODE: u64 = 0x40_1000;
const OFFSET: u64 = 0x1000;
/// Where `.eh_frame` is loaded.
const FRAMES: u64 = 0x50_0000;

/// An image with 64 KiB of code and this `.eh_frame`.
fn image(eh_frame: &[u8]) -> UnwindInfo<'_> {
    UnwindInfo {
        segments: vec![Segment {
            address: Linked(CODE),
            size: Bytes(0x1_0000),
            offset: FileOffset(OFFSET),
        }],
        eh_frame: Section {
            address: Linked(FRAMES),
            data: Cow::Borrowed(eh_frame),
        },
        text: Linked(CODE),
        is_program: true,
        ..UnwindInfo::default()
    }
}

/// An entry: its length, its id, its contents, padded with `DW_CFA_nop`.
fn entry(section: &mut Vec<u8>, id: u32, contents: &[u8]) {
    let padding = contents.len().next_multiple_of(4) - contents.len();
    let length = 4 + contents.len() + padding;
    section.extend((length as u32).to_le_bytes());
    section.extend(id.to_le_bytes());
    section.extend(contents);
    section.extend(std::iter::repeat_n(0, padding));
}

/// What GCC writes: version 1, "zR", factors 1 and −8, return address 16,
/// pointers relative and of four bytes; CFA is rsp + 8, the return address at −8.
const CIE: [u8; 15] = [
    1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1, 0,
];

/// One CIE, and for each function an FDE with these instructions.
fn frames(functions: &[(u64, u32, &[u8])]) -> Vec<u8> {
    let mut section = Vec::new();
    entry(&mut section, 0, &CIE);
    for &(start, length, instructions) in functions {
        let at = section.len() as u64;
        let mut contents = Vec::new();
        let distance = start.wrapping_sub(FRAMES + at + 8);
        contents.extend((distance as u32).to_le_bytes());
        contents.extend(length.to_le_bytes());
        contents.push(0);
        contents.extend(instructions);
        entry(&mut section, at as u32 + 4, &contents);
    }
    section.extend([0; 4]);
    section
}

fn rules(table: &Table) -> Vec<(u32, Rule)> {
    table
        .rows
        .iter()
        .map(|row| (row.offset, table.rules[row.rule as usize]))
        .collect()
}

#[test]
fn a_prologue_gives_a_row_for_each_change() {
    // push %rbp; mov %rsp, %rbp; …; push %rbx
    let instructions = [
        0x41, 0x0e, 16, 0x86, 2, // after 1 byte: CFA rsp + 16, rbp at −16
        0x43, 0x0d, 6, // after 3 more: CFA rbp + 16
        0x44, 0x83, 3, // after 4 more: rbx at −24
    ];
    let section = frames(&[(CODE + 0x10, 0x20, &instructions)]);
    let table = Table::build(&image(&section));
    let pushed = Rule {
        cfa_offset: 16,
        bp: bp::AT_CFA,
        bp_offset: -16,
        ..Rule::ENTRY
    };
    let framed = Rule {
        cfa: cfa::BP,
        ..pushed
    };
    let saved = Rule {
        bx_offset: -24,
        ..framed
    };
    let expected = [
        (0, Rule::default()),
        (0x1010, Rule::ENTRY),
        (0x1011, pushed),
        (0x1014, framed),
        (0x1018, saved),
        (0x1030, Rule::default()),
    ];
    assert_eq!(rules(&table), expected);
    assert_eq!(table.coverage.functions, 1);
    assert_eq!(table.coverage.covered_bytes, 0x20);
}

#[test]
fn neighbours_with_the_same_rule_are_one_row_and_gaps_are_rows() {
    let functions: [(u64, u32, &[u8]); 3] = [
        (CODE + 0x40, 0x10, &[]),
        (CODE, 0x10, &[]),
        (CODE + 0x10, 0x20, &[]),
    ];
    let table = Table::build(&image(&frames(&functions)));
    let none = Rule::default();
    let expected = [
        (0, none),
        (0x1000, Rule::ENTRY),
        (0x1030, none),
        (0x1040, Rule::ENTRY),
        (0x1050, none),
    ];
    assert_eq!(rules(&table), expected);
}

#[test]
fn known_expressions_are_followed_and_others_are_counted() {
    // The procedure linkage table's, then rbp − 8 dereferenced, then one of no use.
    let plt = [
        0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22,
    ];
    let realigned = [0x0f, 3, 0x76, 0x78, 0x06];
    let unknown = [0x0f, 2, 0x70, 0];
    let functions: [(u64, u32, &[u8]); 3] = [
        (CODE, 0x10, &plt),
        (CODE + 0x10, 0x10, &realigned),
        (CODE + 0x20, 0x10, &unknown),
    ];
    let table = Table::build(&image(&frames(&functions)));
    let found = rules(&table);
    assert_eq!(
        found[1].1,
        Rule {
            cfa: cfa::PLT,
            cfa_add: 11,
            ..Rule::ENTRY
        }
    );
    assert_eq!(
        found[2].1,
        Rule {
            cfa: cfa::AT_BP,
            cfa_offset: -8,
            ..Rule::ENTRY
        }
    );
    assert_eq!(found[3].1.cfa, cfa::UNSUPPORTED);
    let unsupported: u64 = table.coverage.unsupported_bytes.values().sum();
    assert_eq!(unsupported, 0x10);
}

#[test]
fn an_undefined_return_address_is_the_end() {
    let table = Table::build(&image(&frames(&[(CODE, 0x10, &[0x07, 16])])));
    assert_eq!(rules(&table)[1].1.ra, ra::END);
}

#[test]
fn nobody_called_the_entry_of_a_program() {
    // As a compiler describes one written in C: push %rbp, pop %rbp.
    let section = frames(&[(CODE, 0x10, &[0x41, 0x0e, 16, 0x41, 0x0e, 8])]);
    let ends = |is_program, entry| {
        let image = UnwindInfo {
            entry,
            is_program,
            ..image(&section)
        };
        let found = rules(&Table::build(&image));
        found.iter().filter(|(_, rule)| rule.ra == ra::END).count()
    };
    assert_eq!(ends(true, Linked(CODE)), 1);
    assert_eq!(ends(false, Linked(CODE)), 0);
    assert_eq!(ends(true, Linked(CODE + 4)), 0);
}

#[test]
fn functions_outside_of_code_or_over_another_are_left_out() {
    let functions: [(u64, u32, &[u8]); 3] = [
        (CODE, 0x20, &[]),
        (CODE + 0x10, 0x20, &[0x0e, 64]),
        (0x1234, 8, &[]),
    ];
    let table = Table::build(&image(&frames(&functions)));
    assert_eq!(table.coverage.functions, 1);
    assert_eq!(table.coverage.misplaced, 2);
}

#[test]
fn a_cie_that_is_executed_again_and_again_is_stopped() {
    let mut section = Vec::new();
    let mut cie = CIE.to_vec();
    cie.extend(std::iter::repeat_n([0x0e, 8], 1 << 19).flatten());
    entry(&mut section, 0, &cie);
    let mut functions = 0;
    while functions < 400 {
        let at = section.len() as u64;
        let start = CODE + functions * 16;
        let distance = start.wrapping_sub(FRAMES + at + 8) as u32;
        let mut contents = distance.to_le_bytes().to_vec();
        contents.extend([16, 0, 0, 0, 0]);
        entry(&mut section, at as u32 + 4, &contents);
        functions += 1;
    }
    let table = Table::build(&image(&section));
    assert_eq!(table.coverage.functions + table.coverage.over_budget, 400);
    assert!(table.coverage.over_budget > 100);
}

#[test]
fn a_page_with_a_row_for_each_byte_is_packed_like_others() {
    let rows = (100..10_000).map(|offset| Row {
        offset,
        rule: 1 + offset % 2,
    });
    let end = Row {
        offset: 10_000,
        rule: 0,
    };
    let table = Table {
        rows: rows.chain([end]).collect(),
        rules: vec![Rule::default(); 3],
        ..Table::default()
    };
    let packed = pack(&table, &[0, 1, 2]).expect("a table");
    for row in &table.rows {
        assert_eq!(
            find(&packed, FileOffset(row.offset.into())),
            row.rule,
            "{row:?}"
        );
    }
}

#[test]
fn an_empty_stretch_costs_its_index_and_no_rows() {
    let row = |offset, rule| Row { offset, rule };
    let rows = vec![row(0, 1), row(100 << 20, 2), row(u32::MAX, 0)];
    let table = Table {
        rows,
        rules: vec![Rule::default(); 3],
        ..Table::default()
    };
    let packed = pack(&table, &[0, 1, 2]).expect("a table");
    for (offset, rule) in [(0, 1), (99 << 20, 1), (100 << 20, 2), (u32::MAX - 1, 2)] {
        assert_eq!(
            find(&packed, FileOffset(offset.into())),
            rule,
            "{offset:#x}"
        );
    }
    // 8 bytes of index for each KiB of 4 GiB, and a chunk of rows.
    assert_eq!(packed.chunks.len(), (4 << 20) * 8 / 4096 + 1);
}

proptest! {
    #[test]
    fn a_packed_table_says_what_the_table_says(
        steps in prop::collection::vec((1u32..3000, 0u32..9), 1..4000),
        probes in prop::collection::vec(0u32..2_000_000, 64),
    ) {
        let mut rows = vec![Row { offset: 0, rule: 0 }];
        let mut offset = 0;
        for (step, rule) in steps {
            // Dense here and there, so that pages differ.
            offset += if step % 3 == 0 { step } else { step % 2 + 1 };
            if rows.last().is_some_and(|row| row.rule != rule) {
                rows.push(Row { offset, rule });
            }
        }
        rows.push(Row { offset: offset + 1, rule: 0 });
        rows.dedup_by_key(|row| row.rule);
        let table = Table { rows, rules: vec![Rule::default(); 9], ..Table::default() };
        let numbers: Vec<u32> = (0..9).map(|rule| if rule == 0 { 0 } else { rule + 100 }).collect();
        let Some(packed) = pack(&table, &numbers) else {
            prop_assert!(table.rows.iter().all(|row| row.rule == 0));
            return Ok(());
        };
        let ends = table.rows.iter().flat_map(|row| [row.offset, row.offset.saturating_sub(1)]);
        for probe in probes.into_iter().chain(ends) {
            let at = table.rows.partition_point(|row| row.offset <= probe);
            let rule = at.checked_sub(1).map_or(0, |at| table.rows[at].rule);
            prop_assert_eq!(find(&packed, FileOffset(probe.into())), numbers[rule as usize], "{}", probe);
        }
    }

    #[test]
    fn garbage_gives_a_table_in_order(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let instructions = [0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x0a, 0x44, 0x0b, 0x0f, 3, 0x76, 0x78, 6];
        let mut section = frames(&[(CODE, 0x100, &instructions), (CODE + 0x100, 0x100, &instructions)]);
        for (at, value) in changes {
            let at = at.index(section.len());
            section[at] = value;
        }
        let table = Table::build(&image(&section));
        prop_assert!(table.rows.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        prop_assert!(table.rows.iter().all(|row| (row.rule as usize) < table.rules.len()));
        let numbers: Vec<u32> = (0..table.rules.len() as u32).collect();
        if let Some(packed) = pack(&table, &numbers) {
            prop_assert!(packed.chunks.len() <= 64);
        }
    }

    #[test]
    fn garbage_is_no_elf_file(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Elf::parse(Source::Memory(bytes)).is_err());
    }
}

#[test]
fn init_and_fini_have_the_shape_that_the_c_library_gives_them() {
    let deeper = Rule {
        cfa_offset: 16,
        ..Rule::ENTRY
    };
    let glibc: &[u8] = &[0x48, 0x83, 0xec, 8, 0xff, 0xd0, 0x48, 0x83, 0xc4, 8, 0xc3];
    let with_endbr = [&[0xf3, 0x0f, 0x1e, 0xfa], glibc].concat();
    let musl: &[u8] = &[0x50, 0xff, 0xd0, 0x58, 0xc3];
    // Nobody adds a piece to `.fini` any more.
    let bare: &[u8] = &[0x48, 0x83, 0xec, 8, 0x48, 0x83, 0xc4, 8, 0xc3];
    let bare_of_musl: &[u8] = &[0x50, 0x58, 0xc3];
    for (code, from) in [
        (glibc, 4),
        (&with_endbr, 8),
        (musl, 1),
        (bare, 4),
        (bare_of_musl, 1),
    ] {
        let mut image = image(&[]);
        image.pieced.push(Section {
            address: Linked(CODE),
            data: Cow::Borrowed(code),
        });
        let table = Table::build(&image);
        let end = 0x1000 + code.len() as u32;
        let expected = [
            (0, Rule::default()),
            (0x1000, Rule::ENTRY),
            (0x1000 + from, deeper),
            (end - 1, Rule::ENTRY),
            (end, Rule::default()),
        ];
        assert_eq!(rules(&table), expected);
    }
    for code in [
        &glibc[..10],
        &glibc[1..],
        &[],
        &bare[..8],
        &[0x50, 0xc3],
        &[0xf3],
    ] {
        let mut image = image(&[]);
        image.pieced.push(Section {
            address: Linked(CODE),
            data: Cow::Borrowed(code),
        });
        assert!(pack(&Table::build(&image), &[0; 8]).is_none(), "{code:?}");
    }
}
