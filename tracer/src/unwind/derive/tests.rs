//! Rules from instructions: known code, and beside those that compilers wrote.

use super::*;
use crate::files::{Elf, Source};
use crate::units::{Bytes, Linked};
use crate::unwind::info::{Section, Segment};

const CODE: u64 = 0x40_1000;

/// A program that is this code, which begins with its entry.
fn image(code: &Source, size: usize) -> UnwindInfo<'_> {
    UnwindInfo {
        segments: vec![Segment {
            address: Linked(CODE),
            size: Bytes(size as u64),
            offset: FileOffset(0),
        }],
        text: Linked(CODE),
        entry: Linked(CODE),
        is_program: true,
        source: Some(code),
        ..UnwindInfo::default()
    }
}

/// Its table.
fn table(code: &[u8]) -> Table {
    let mut code = code.to_vec();
    code.resize(code.len().max(MIN_GAP), 0x90);
    let mut table = Table {
        rules: vec![Rule::default()],
        ..Table::default()
    };
    let length = code.len();
    fill(&mut table, &image(&Source::Memory(code), length));
    table
}

fn rule_at(table: &Table, offset: usize) -> Rule {
    let after = table
        .rows
        .partition_point(|row| row.offset as usize <= offset);
    let row = after.checked_sub(1).map(|at| table.rows[at]);
    row.map_or(Rule::default(), |row| table.rules[row.rule as usize])
}

const END: Rule = Rule {
    cfa: cfa::SP,
    ra: ra::END,
    cfa_offset: 0,
    ..Rule::ENTRY
};

/// rsp + this.
fn sp(cfa_offset: i32) -> Rule {
    Rule {
        cfa_offset,
        ..Rule::ENTRY
    }
}

/// The same, and rbp is saved at the entry.
fn saved(cfa_offset: i32) -> Rule {
    Rule {
        bp: bp::AT_CFA,
        bp_offset: -16,
        ..sp(cfa_offset)
    }
}

/// A program that calls a function at 0x10, and halts.
fn called(function: &[u8]) -> Table {
    let mut code = vec![0x90; 0x10];
    code[..6].copy_from_slice(&[0xe8, 0x0b, 0, 0, 0, 0xf4]);
    code.extend(function);
    table(&code)
}

/// Expects rules at offsets in the function that [`called`] calls.
fn expect(table: &Table, rules: &[(usize, Rule)]) {
    for &(offset, rule) in rules {
        assert_eq!(rule_at(table, 0x10 + offset), rule, "at {offset}");
    }
}

#[test]
fn the_entry_has_no_caller_but_what_it_calls_has() {
    let table = called(&[0xc3]);
    assert_eq!(rule_at(&table, 0), END);
    assert_eq!(rule_at(&table, 5), END);
    expect(&table, &[(0, Rule::ENTRY), (1, UNSUPPORTED)]);
}

#[test]
fn pushes_and_moves_are_followed() {
    let table = called(&[
        0x55, // push %rbp
        0x53, // push %rbx
        0x48, 0x83, 0xec, 0x28, // sub $40,%rsp
        0x31, 0xed, // xor %ebp,%ebp: a counter
        0x48, 0x83, 0xc4, 0x28, // add $40,%rsp
        0x5b, // pop %rbx
        0x5d, // pop %rbp
        0xc3, // ret
    ]);
    let rules = [
        (0, Rule::ENTRY),
        (1, saved(16)),
        (2, saved(24)),
        (6, saved(64)),
        (8, saved(64)),
        (12, saved(24)),
        (13, saved(16)),
        (14, Rule::ENTRY),
    ];
    expect(&table, &rules);
}

#[test]
fn rbp_serves_where_rsp_is_unknown() {
    let table = called(&[
        0x55, // push %rbp
        0x48, 0x89, 0xe5, // mov %rsp,%rbp
        0x48, 0x29, 0xfc, // sub %rdi,%rsp
        0x90, // nop
        0xc9, // leave
        0xc3, // ret
    ]);
    let by_bp = Rule {
        cfa: cfa::BP,
        ..saved(16)
    };
    expect(
        &table,
        &[(4, saved(16)), (7, by_bp), (8, by_bp), (9, Rule::ENTRY)],
    );
}

#[test]
fn what_is_not_certain_has_no_rule() {
    // sub %rdi,%rsp; nop; ret
    expect(
        &called(&[0x48, 0x29, 0xfc, 0x90, 0xc3]),
        &[(0, Rule::ENTRY), (3, UNSUPPORTED)],
    );
    // Two ways that disagree: je 1f; push %rax; 1: nop; ret
    let disagree = called(&[0x74, 0x01, 0x50, 0x90, 0xc3]);
    expect(
        &disagree,
        &[(0, UNSUPPORTED), (2, UNSUPPORTED), (3, UNSUPPORTED)],
    );
    // A return that is not on top: push %rax; ret
    expect(
        &called(&[0x50, 0xc3]),
        &[(0, UNSUPPORTED), (1, UNSUPPORTED)],
    );
    // The return address taken off: pop %rdx; nop; jmp *%rdx
    expect(
        &called(&[0x5a, 0x90, 0xff, 0xe2]),
        &[(0, Rule::ENTRY), (1, UNSUPPORTED)],
    );
    // Never reached, and no way back: jmp *%rax; hlt
    expect(
        &called(&[0xc3, 0xf4, 0xf4]),
        &[(1, UNSUPPORTED), (2, UNSUPPORTED)],
    );
}

#[test]
fn the_cases_of_a_switch_are_found_from_the_return() {
    let table = called(&[
        0x55, // push %rbp
        0x50, // push %rax
        0xff, 0xe0, // jmp *%rax
        0x90, // (padding)
        0x31, 0xed, // xor %ebp,%ebp
        0x58, // pop %rax
        0x5d, // pop %rbp
        0xc3, // ret
        0x31, 0xc0, // xor %eax,%eax
        0xeb, 0xf7, // jmp to the first case
    ]);
    let rules = [
        (2, saved(24)),
        (5, saved(24)),
        (7, saved(24)),
        (8, saved(16)),
        (9, Rule::ENTRY),
        (10, saved(24)),
        (12, saved(24)),
    ];
    expect(&table, &rules);
}

#[test]
fn code_after_a_call_that_never_returns_is_another_function() {
    let table = called(&[
        0x50, // push %rax
        0xe8, 0x02, 0, 0, 0,    // call 8
        0x53, // push %rbx
        0xc3, // never reached like that: would be a contradiction
        0xf4, // hlt
    ]);
    expect(&table, &[(0, Rule::ENTRY), (1, sp(16)), (8, Rule::ENTRY)]);
}

#[test]
fn a_thread_begins_where_clone_returns_to_it() {
    let table = called(&[
        0x0f, 0x05, // syscall
        0x85, 0xc0, // test %eax,%eax
        0x75, 0x06, // jne 1f
        0x31, 0xed, // xor %ebp,%ebp
        0x5f, // pop %rdi
        0xff, 0xd1, // call *%rcx
        0xf4, // hlt
        0xc3, // 1: ret
    ]);
    expect(
        &table,
        &[
            (2, Rule::ENTRY),
            (6, Rule::ENTRY),
            (8, END),
            (9, END),
            (11, END),
            (12, Rule::ENTRY),
        ],
    );
}

#[test]
fn a_trampoline_leads_to_what_a_signal_interrupted() {
    // ret; nop; mov $15,%rax; syscall; nop
    let code = [0xc3, 0x90, 0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05, 0x90];
    let rules = [
        (0, Rule::ENTRY),
        (1, SIGNAL),
        (2, SIGNAL),
        (10, SIGNAL),
        (11, UNSUPPORTED),
    ];
    expect(&called(&code), &rules);
}

#[test]
fn small_gaps_count_only_beside_large_ones() {
    let row = |offset, rule| Row { offset, rule };
    let table = Table {
        rules: vec![Rule::default(), Rule::ENTRY],
        rows: vec![
            row(0, 1),
            row(100, 0),
            row(130, 1),
            row(4000, 0),
            row(4064, 1),
        ],
        ..Table::default()
    };
    let none = Source::Memory(Vec::new());
    let both = [100..130, 4000..4064];
    assert_eq!(gaps(&table, &image(&none, 64 * 64)), both);
    assert_eq!(gaps(&table, &image(&none, 64 * 66)), both[1..]);
    assert_eq!(gaps(&table, &image(&none, 120)), []);
}

/// Our own code, with its unwind information and without.
#[test]
fn derived_rules_agree_with_those_of_the_compiler() {
    let data = std::fs::read("/proc/self/exe").expect("our own file");
    let elf = Elf::parse(Source::Memory(data)).expect("an ELF file");
    let image = || UnwindInfo::of(&elf).expect("its parts");
    let known = crate::unwind::cfi::table(&image());
    let silent = UnwindInfo {
        eh_frame: Section::default(),
        debug_frame: Section::default(),
        ..image()
    };
    let mut derived = crate::unwind::cfi::table(&silent);
    fill_up_to(u64::MAX, &mut derived, &silent);
    let rows = known.rows.iter().chain(&derived.rows);
    let mut offsets: Vec<usize> = rows.map(|row| row.offset as usize).collect();
    offsets.sort_unstable();
    let mut agreed = 0;
    for pair in offsets.windows(2) {
        let (known, derived) = (rule_at(&known, pair[0]), rule_at(&derived, pair[0]));
        if known.cfa == derived.cfa && known.cfa > cfa::UNSUPPORTED {
            let same = |rule: Rule| (rule.cfa_offset, rule.ra);
            assert_eq!(same(known), same(derived), "at {:#x}", pair[0]);
            agreed += pair[1] - pair[0];
        }
    }
    assert!(agreed > 100_000, "{agreed} bytes");
}

/// glibc's `clone3` ends its unwind information before the system call.
#[test]
fn what_follows_unwind_information_with_a_system_call_goes_on() {
    let code = [
        0xb8, 0xb3, 0x01, 0x00, 0x00, // mov $435,%eax
        0x0f, 0x05, // syscall
        0x48, 0x85, 0xc0, // test %rax,%rax
        0x74, 0x01, // je
        0xc3, // ret
        0x50, // push %rax: the child
    ];
    let known = |stack| Table {
        rules: vec![Rule::default(), sp(stack)],
        rows: vec![Row { offset: 0, rule: 1 }, Row { offset: 5, rule: 0 }],
        ..Table::default()
    };
    let with = |code: &[u8], stack| {
        let mut bytes = vec![0x90; 0x100];
        bytes[..code.len()].copy_from_slice(code);
        let mut table = known(stack);
        let length = bytes.len();
        let source = Source::Memory(bytes);
        let mut image = image(&source, length);
        image.entry = Linked(0);
        fill(&mut table, &image);
        table
    };
    for stack in [8, 32] {
        let table = with(&code, stack);
        for at in [0, 5, 7, 10, 12] {
            assert_eq!(rule_at(&table, at), sp(stack), "at {at}");
        }
        assert_ne!(rule_at(&table, 13), sp(stack));
    }
    // Another function may begin where one's information ends.
    let mut other = code;
    other[5..7].copy_from_slice(&[0x31, 0xff]);
    assert_ne!(rule_at(&with(&other, 32), 5), sp(32));
}
