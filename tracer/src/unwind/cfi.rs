//! The table of what a file's own unwind information says (`.eh_frame`, `.debug_frame`).

use super::coverage::Coverage;
use super::info::{Section, UnwindInfo};
use super::rule::{Reader, Unsupported, rule};
use super::table::{MAX_ROWS, Row, Table, UNSUPPORTED};
use crate::units::{Bytes, FileOffset, Linked};
use gimli::{BaseAddresses, CieOrFde, LittleEndian, UnwindContext, UnwindSection};
use rustc_hash::FxHashMap;
use tracer_ebpf::tables::{MAX_RULES, NO_RULE, Rule, cfa, ra};

/// Distinct rules of a file at most. libtiledb has some 600.
const MAX_FILE_RULES: usize = MAX_RULES as usize / 4;

/// Bytes of CFI instructions that are executed for a file at most: a hostile
/// CIE is executed again for each of its FDEs.
const MAX_WORK: usize = 256 << 20;

/// Bytes after an entry point that no FDE covers which still count as it.
const ENTRY_BYTES: u64 = 64;

/// Nobody called what has this rule.
const END: Rule = Rule {
    cfa: cfa::SP,
    ra: ra::END,
    bp: tracer_ebpf::tables::bp::SAME,
    signal: 0,
    cfa_offset: 0,
    cfa_add: 0,
    ra_offset: 0,
    bp_offset: 0,
    bx_offset: 0,
};

/// A function: its file offsets and where its rows begin in the unsorted list.
struct Function {
    start: u32,
    end: u32,
    rows: std::ops::Range<usize>,
}

/// What is gathered while the sections are read.
struct Builder<'a> {
    image: &'a UnwindInfo<'a>,
    bases: BaseAddresses,
    context: UnwindContext<usize>,
    rows: Vec<Row>,
    functions: Vec<Function>,
    rules: Vec<Rule>,
    numbers: FxHashMap<Rule, u32>,
    work: usize,
    coverage: Coverage,
}

/// Makes the table of a file from its `.eh_frame`, and from its
/// `.debug_frame` for what that leaves out.
#[must_use]
pub(super) fn table(image: &UnwindInfo<'_>) -> Table {
    let mut builder = Builder::new(image);
    let section = |found: &Section<'_>| found.data.len();
    if section(&image.eh_frame) > 0 {
        let eh_frame = gimli::EhFrame::new(&image.eh_frame.data, LittleEndian);
        builder.read(&eh_frame, image.eh_frame.data.len());
    }
    if section(&image.debug_frame) > 0 {
        let mut debug_frame = gimli::DebugFrame::new(&image.debug_frame.data, LittleEndian);
        debug_frame.set_address_size(8);
        builder.read(&debug_frame, image.debug_frame.data.len());
    }
    builder.add_entry();
    for section in &image.pieced {
        builder.add_pieced(section);
    }
    builder.finish()
}

impl<'a> Builder<'a> {
    fn new(image: &'a UnwindInfo<'a>) -> Self {
        let none = Rule::default();
        Self {
            image,
            bases: BaseAddresses::default()
                .set_eh_frame(image.eh_frame.address.0)
                .set_text(image.text.0)
                .set_got(image.got.0),
            context: UnwindContext::new(),
            rows: Vec::new(),
            functions: Vec::new(),
            rules: vec![none],
            numbers: FxHashMap::from_iter([(none, NO_RULE)]),
            work: 0,
            coverage: Coverage {
                code_bytes: image
                    .segments
                    .iter()
                    .fold(0, |sum, s| s.size.0.saturating_add(sum)),
                ..Coverage::default()
            },
        }
    }

    /// Reads every FDE of a section.
    fn read<S>(&mut self, section: &S, size: usize)
    where
        S: UnwindSection<Reader<'a>>,
        S::Offset: std::hash::Hash,
    {
        let bases = self.bases.clone();
        let mut entries = section.entries(&bases);
        let mut cies = FxHashMap::default();
        // Each entry takes four bytes at least: more are impossible.
        for _ in 0..size / 4 {
            let partial = match entries.next() {
                Ok(Some(CieOrFde::Fde(partial))) => partial,
                Ok(Some(CieOrFde::Cie(_))) => continue,
                Ok(None) => return,
                Err(_) => {
                    // What follows can't be found any more.
                    self.coverage.malformed += 1;
                    return;
                }
            };
            let parsed = partial.parse(|section, bases, offset| match cies.get(&offset) {
                Some(cie) => Ok(gimli::CommonInformationEntry::clone(cie)),
                None => {
                    let cie = section.cie_from_offset(bases, offset)?;
                    cies.insert(offset, cie.clone());
                    Ok(cie)
                }
            });
            match parsed {
                Ok(function) => self.add_function(section, &function),
                Err(_) => self.coverage.malformed += 1,
            }
        }
    }

    fn add_function<S: UnwindSection<Reader<'a>>>(
        &mut self,
        section: &S,
        function: &gimli::FrameDescriptionEntry<Reader<'a>>,
    ) {
        let Some((start, end)) = self.place(Linked(function.initial_address()), function.len())
        else {
            self.coverage.misplaced += 1;
            return;
        };
        self.work = self
            .work
            .saturating_add(function.entry_len())
            .saturating_add(function.cie().entry_len());
        if self.work > MAX_WORK || self.rows.len() >= MAX_ROWS {
            self.coverage.over_budget += 1;
            return;
        }
        let first = self.rows.len();
        if self.add_rows(section, function, start, end).is_err() {
            self.rows.truncate(first);
            self.coverage.malformed += 1;
            return;
        }
        self.functions.push(Function {
            start,
            end,
            rows: first..self.rows.len(),
        });
        if self.begins_contexts(start, end) {
            self.add_planted(start);
        }
    }

    /// Whether it is glibc's `__start_context`, whose address makecontext(3) plants as the return
    /// address of the function that it is given. Most libraries have no symbol for it.
    fn begins_contexts(&self, start: u32, end: u32) -> bool {
        /// `mov %rbx,%rsp; mov (%rsp),%rdi; test %rdi,%rdi; je`
        const CODE: [u8; 11] = [
            0x48, 0x89, 0xdc, 0x48, 0x8b, 0x3c, 0x24, 0x48, 0x85, 0xff, 0x74,
        ];
        // Of other lengths there is none: with and without `endbr64`.
        let skipped = match end - start {
            26 => 0,
            30 => 4,
            _ => return false,
        };
        let code = self.image.bytes(
            FileOffset((start + skipped).into()),
            Bytes(CODE.len() as u64),
        );
        code.is_some_and(|code| *code == CODE)
    }

    /// Nobody called what returns to the first byte of a function, and a walk looks one byte before
    /// a return address: there the stack ends.
    fn add_planted(&mut self, start: u32) {
        let Some(before) = start.checked_sub(1) else {
            return;
        };
        let first = self.rows.len();
        let rule = self.number(END);
        self.rows.push(Row {
            offset: before,
            rule,
        });
        self.functions.push(Function {
            start: before,
            end: start,
            rows: first..self.rows.len(),
        });
    }

    /// A function's file offsets, if it lies in one executable segment.
    fn place(&self, address: Linked, length: u64) -> Option<(u32, u32)> {
        let last = Linked(address.0.checked_add(length.checked_sub(1)?)?);
        let (start, end) = (
            self.image.file_offset(address)?.0,
            self.image.file_offset(last)?.0,
        );
        let whole = end.checked_sub(start)? == length - 1;
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end + 1).ok()?);
        whole.then_some((start, end))
    }

    fn add_rows<S: UnwindSection<Reader<'a>>>(
        &mut self,
        section: &S,
        function: &gimli::FrameDescriptionEntry<Reader<'a>>,
        start: u32,
        end: u32,
    ) -> Result<(), gimli::Error> {
        let bases = self.bases.clone();
        let mut context = std::mem::take(&mut self.context);
        let mut rows = function.rows(section, &bases, &mut context)?;
        let signal = function.is_signal_trampoline();
        while let Some(row) = rows.next_row()? {
            let distance = row.start_address().wrapping_sub(function.initial_address());
            let offset = u64::from(start).saturating_add(distance);
            if offset >= u64::from(end) || self.rows.len() >= MAX_ROWS {
                break;
            }
            let found = rule(row, section, signal);
            if let Err(kind) = found {
                let bytes = row.end_address().saturating_sub(row.start_address());
                self.note_unsupported(kind, bytes);
            }
            if found.is_ok_and(|rule| rule.cfa == cfa::LEAF || rule.ra == ra::LEAF) {
                let bytes = row.end_address().saturating_sub(row.start_address());
                self.coverage.leaf_bytes = self.coverage.leaf_bytes.saturating_add(bytes);
            }
            let rule = self.number(found.unwrap_or(UNSUPPORTED));
            self.rows.push(Row {
                offset: offset as u32,
                rule,
            });
        }
        self.context = context;
        Ok(())
    }

    fn note_unsupported(&mut self, kind: Unsupported, bytes: u64) {
        let sum = self.coverage.unsupported_bytes.entry(kind).or_default();
        *sum = sum.saturating_add(bytes);
    }

    /// The number of a rule, which is new or not.
    fn number(&mut self, rule: Rule) -> u32 {
        if let Some(&number) = self.numbers.get(&rule) {
            return number;
        }
        if self.rules.len() >= MAX_FILE_RULES && rule != UNSUPPORTED {
            self.coverage.over_budget += 1;
            return self.number(UNSUPPORTED);
        }
        let number = self.rules.len() as u32;
        self.rules.push(rule);
        self.numbers.insert(rule, number);
        number
    }

    /// Nobody called the entry of a process, which says so in the C library alone: the dynamic
    /// linker's, and that of static binaries without CFI, is hand-written and says nothing, and
    /// for one that is written in C the compiler says what it says of any function.
    fn add_entry(&mut self) {
        let Some(FileOffset(start)) = self.image.file_offset(self.image.entry) else {
            return;
        };
        if self.image.entry == Linked(0) {
            return;
        }
        let end = END;
        let begins_there = |f: &&Function| u64::from(f.start) == start;
        if let Some(function) = self.functions.iter().find(begins_there) {
            let rows = function.rows.clone();
            if self.image.is_program {
                let rule = self.number(end);
                self.rows[rows].iter_mut().for_each(|row| row.rule = rule);
            }
        } else if !self.covers(start) {
            self.add_bare_entry(start, end);
        }
    }

    /// An entry of which no FDE says where it ends.
    fn add_bare_entry(&mut self, start: u64, rule: Rule) {
        let starts = self.functions.iter().map(|f| u64::from(f.start));
        let next = starts.filter(|&other| other > start).min();
        let end = start.saturating_add(ENTRY_BYTES);
        let end = next.map_or(end, |next| next.min(end));
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) else {
            return;
        };
        let first = self.rows.len();
        let rule = self.number(rule);
        self.rows.push(Row {
            offset: start,
            rule,
        });
        self.functions.push(Function {
            start,
            end,
            rows: first..first + 1,
        });
    }

    fn covers(&self, offset: u64) -> bool {
        let holds = |f: &Function| u64::from(f.start) <= offset && offset < u64::from(f.end);
        self.functions.iter().any(holds)
    }

    /// `_init` or `_fini`: the C library's prologue, calls, its epilogue.
    fn add_pieced(&mut self, section: &Section<'_>) {
        let Some((from, to)) = pieces(&section.data) else {
            return;
        };
        let length = section.data.len() as u64;
        let Some((start, end)) = self.place(section.address, length) else {
            return;
        };
        if self.covers(start.into()) {
            return;
        }
        let first = self.rows.len();
        for (offset, cfa_offset) in [(0, 8), (from, 16), (to, 8)] {
            let rule = self.number(Rule {
                cfa: cfa::SP,
                cfa_offset,
                ..Rule::default()
            });
            self.rows.push(Row {
                offset: start + offset as u32,
                rule,
            });
        }
        self.functions.push(Function {
            start,
            end,
            rows: first..self.rows.len(),
        });
    }

    /// Sorts the functions, makes the gaps explicit and merges equal neighbours.
    fn finish(mut self) -> Table {
        self.functions.sort_by_key(|function| function.start);
        let mut sorted: Vec<Row> = Vec::with_capacity(self.rows.len() + self.functions.len());
        let mut add = |row: Row| match sorted.last_mut() {
            Some(last) if last.rule == row.rule => {}
            Some(last) if last.offset == row.offset => last.rule = row.rule,
            _ => sorted.push(row),
        };
        let mut end = 0;
        for function in &self.functions {
            // `.debug_frame` often repeats what `.eh_frame` has.
            if function.start < end {
                self.coverage.misplaced += 1;
                continue;
            }
            if function.start > end {
                add(Row {
                    offset: end,
                    rule: NO_RULE,
                });
            }
            let mut last = function.start;
            for &row in &self.rows[function.rows.clone()] {
                // A row before its predecessor is a lie of the file's.
                if row.offset >= last {
                    last = row.offset;
                    add(row);
                }
            }
            end = function.end;
            self.coverage.functions += 1;
            self.coverage.covered_bytes += u64::from(function.end - function.start);
        }
        add(Row {
            offset: end,
            rule: NO_RULE,
        });
        self.coverage.rows = sorted.len() as u64;
        self.coverage.rules = self.rules.len() as u64;
        Table {
            rows: sorted,
            rules: self.rules,
            coverage: self.coverage,
        }
    }
}

/// Where, in a section put together of pieces, the stack is one word deeper than
/// at its entry: glibc moves the stack pointer, musl pushes a register. `None`
/// where the code is of no known shape.
fn pieces(code: &[u8]) -> Option<(usize, usize)> {
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    /// `sub $8,%rsp` … `add $8,%rsp; ret`; `push %rax` … `pop %rax; ret`.
    const SHAPES: [(&[u8], &[u8]); 2] = [
        (&[0x48, 0x83, 0xec, 8], &[0x48, 0x83, 0xc4, 8, 0xc3]),
        (&[0x50], &[0x58, 0xc3]),
    ];
    let entry = if code.starts_with(&ENDBR64) { 4 } else { 0 };
    let whole = |(prologue, epilogue): (&[u8], &[u8])| {
        let fits = code[entry..].starts_with(prologue) && code.ends_with(epilogue);
        // The stack is as at the entry once the return remains.
        (fits && code.len() >= entry + prologue.len() + epilogue.len())
            .then(|| (entry + prologue.len(), code.len() - 1))
    };
    SHAPES.into_iter().find_map(whole)
}
