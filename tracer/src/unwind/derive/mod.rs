//! Rules for code without unwind information, from its instructions.
//!
//! musl ships its static library without CFI, and assembly often has none. But
//! compiled code treats the stack in a way that can be followed: from an entry,
//! where the return address is on top, instruction by instruction to where that
//! must be so again, the return.
//!
//! - [`continued`] goes on where unwind information ends before its function does;
//! - [`sweep`] decodes the code that no FDE covers;
//! - [`state`] says what an instruction does to the frame;
//! - [`flow`] carries that from the entries along every path, and throws away
//!   what contradicts itself;
//! - [`infer`] finds the frame of code that no path from an entry leads to (the
//!   cases of a `switch`), from the way to the return.
//!
//! Where nothing is certain the rule is that the walk ends there: a stack that
//! is cut is better than frames that were never there.

mod continued;
mod flow;
mod state;
mod sweep;
#[cfg(test)]
mod tests;

use super::info::UnwindInfo;
use super::table::{Row, Table, UNSUPPORTED};
use crate::units::FileOffset;
use flow::Flow;
use rustc_hash::FxHashMap;
use std::ops::Range;
use tracer_ebpf::tables::{NO_RULE, Rule, bp, cfa, ra};

/// Bytes without FDE that are more than padding between functions, or the few
/// instructions of an entry.
const MIN_GAP: usize = 64;

/// A file of whose code more than this part lies in such gaps has functions in
/// the smaller ones, too.
const MANY: u64 = 64;

/// Bytes without FDE that are decoded of a file at most. musl has some 400 KiB
/// in all. What is larger (the builtins of V8) keeps frame pointers.
const MAX_GAPS: u64 = 1 << 20;

/// Rules that a file may have after this.
const MAX_RULES: usize = tracer_ebpf::tables::MAX_RULES as usize / 4;

/// Trampolines of signal handlers that a file may have.
const MAX_TRAMPOLINES: usize = 16;

/// A piece of code without FDE, by file offset.
type Gap = Range<u32>;

/// Fills the gaps of a table that was made of unwind information.
pub(super) fn fill(table: &mut Table, image: &UnwindInfo<'_>) {
    fill_up_to(MAX_GAPS, table, image);
}

/// The same where the gaps have no more bytes.
fn fill_up_to(most: u64, table: &mut Table, image: &UnwindInfo<'_>) {
    // Go keeps frame pointers everywhere, and changes stacks as nobody else does.
    if image.is_go {
        return;
    }
    continued::go_on(table, image, &all_gaps(table, image));
    let gaps = gaps(table, image);
    let size: u64 = gaps.iter().map(|gap| gap.len() as u64).sum();
    if gaps.is_empty() || size > most {
        return;
    }
    let Some(code) = sweep::sweep(image, &gaps) else {
        return;
    };
    let mut flow = Flow::new(&code);
    flow.run();
    let (rows, bytes) = Derived::new(table).rows(&code, &flow);
    table.splice(&gaps, &rows);
    table.coverage.derived_bytes = bytes;
}

/// What of it is worth to be read.
fn gaps(table: &Table, image: &UnwindInfo<'_>) -> Vec<Gap> {
    let mut gaps = all_gaps(table, image);
    keep_worthy(&mut gaps, image);
    gaps
}

/// The executable code that no row says anything about.
fn all_gaps(table: &Table, image: &UnwindInfo<'_>) -> Vec<Gap> {
    let entry = image.file_offset(image.entry);
    // Without unwind information, nobody knows where the entry's code ends.
    let is_entry = |row: &Row| {
        let rule = table.rules.get(row.rule as usize);
        entry == Some(FileOffset(row.offset.into())) && rule.is_some_and(|rule| rule.ra == ra::END)
    };
    let says_nothing = |row: &Row| row.rule == NO_RULE || is_entry(row);
    let rows = &table.rows;
    let mut found = Vec::new();
    for segment in &image.segments {
        let (Ok(start), Ok(end)) = (
            u32::try_from(segment.offset.0),
            u32::try_from(segment.offset.0.saturating_add(segment.size.0)),
        ) else {
            continue;
        };
        let first = rows.partition_point(|row| row.offset <= start);
        let inside = rows[first..].iter().take_while(|row| row.offset < end);
        let in_force = first.checked_sub(1).map(|at| &rows[at]);
        let mut from = in_force.is_none_or(says_nothing).then_some(start);
        let last = Row {
            offset: end,
            rule: u32::MAX,
        };
        for row in inside.chain([&last]) {
            match from {
                Some(begin) if !says_nothing(row) => {
                    found.push(begin..row.offset);
                    from = None;
                }
                None if says_nothing(row) => from = Some(row.offset),
                _ => {}
            }
        }
    }
    // Segments that overlap are a lie of the file's.
    found.sort_unstable_by_key(|gap| gap.start);
    found.dedup_by(|next, last| next.start < last.end);
    found
}

/// Leaves out what is not worth to be read.
fn keep_worthy(gaps: &mut Vec<Gap>, image: &UnwindInfo<'_>) {
    let sum = |lengths: &mut dyn Iterator<Item = u64>| lengths.fold(0, u64::saturating_add);
    let large = |gap: &&Gap| gap.len() >= MIN_GAP;
    let inside = sum(&mut gaps.iter().filter(large).map(|gap| gap.len() as u64));
    let all = sum(&mut image.segments.iter().map(|segment| segment.size.0));
    if inside < all / MANY {
        gaps.retain(|gap| large(&gap));
    }
}

/// Makes rows of states.
struct Derived<'a> {
    rules: &'a mut Vec<Rule>,
    numbers: FxHashMap<Rule, u32>,
}

impl<'a> Derived<'a> {
    fn new(table: &'a mut Table) -> Self {
        let numbers = table.rules.iter().copied().zip(0..).collect();
        Self {
            rules: &mut table.rules,
            numbers,
        }
    }

    fn number(&mut self, rule: Rule) -> u32 {
        if let Some(&number) = self.numbers.get(&rule) {
            return number;
        }
        if self.rules.len() >= MAX_RULES && rule != UNSUPPORTED {
            return self.number(UNSUPPORTED);
        }
        let number = self.rules.len() as u32;
        self.rules.push(rule);
        self.numbers.insert(rule, number);
        number
    }

    /// The rows of all gaps, one for each instruction, and the bytes of those with
    /// a rule that can be followed.
    fn rows(mut self, code: &sweep::Code, flow: &Flow<'_>) -> (Vec<Row>, u64) {
        let mut rows = Vec::with_capacity(code.instructions.len());
        let mut bytes = 0;
        for (at, instruction) in code.instructions.iter().enumerate() {
            let rule = flow.rule(at);
            if rule.cfa > cfa::UNSUPPORTED {
                bytes += u64::from(instruction.length);
            }
            rows.push(self.row(instruction.at, rule));
        }
        for trampoline in code.trampolines.iter().take(MAX_TRAMPOLINES) {
            self.add_trampoline(&mut rows, trampoline, &code.gaps);
        }
        (rows, bytes)
    }

    fn row(&mut self, offset: u32, rule: Rule) -> Row {
        Row {
            offset,
            rule: self.number(rule),
        }
    }

    /// The instructions to which handlers return, and the byte before: a walk
    /// takes their address for that after a call.
    fn add_trampoline(&mut self, rows: &mut Vec<Row>, trampoline: &Gap, gaps: &[Gap]) {
        let before = trampoline.start.saturating_sub(1);
        let free = gaps.iter().any(|gap| gap.contains(&before));
        let signal = self.row(if free { before } else { trampoline.start }, SIGNAL);
        let first = rows.partition_point(|row| row.offset < signal.offset);
        let end = rows.partition_point(|row| row.offset < trampoline.end);
        let after = match rows.get(end) {
            Some(row) if row.offset == trampoline.end => None,
            _ => end.checked_sub(1).map(|last| Row {
                offset: trampoline.end,
                rule: rows[last].rule,
            }),
        };
        rows.splice(first..end, [signal].into_iter().chain(after));
    }
}

/// Where the kernel left what a signal interrupted: in the `ucontext_t` that the
/// stack pointer points to (asm/ucontext.h, asm/sigcontext.h), as glibc's own
/// unwind information says.
const SIGNAL: Rule = Rule {
    cfa: cfa::AT_SP,
    ra: ra::AT_SP,
    bp: bp::AT_SP,
    signal: 1,
    cfa_offset: 160,
    cfa_add: 0,
    ra_offset: 168,
    bp_offset: 120,
    bx_offset: 0,
};
