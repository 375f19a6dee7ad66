//! Line tables of DWARF: from an address to a file and a line.

use super::scopes::FileNumber;
use super::units::{Budget, KEPT};
use super::{Bytes, UnitRef};
use gimli::Reader as _;

/// A line program that has not run.
pub(crate) type Program<'d> = gimli::IncompleteLineProgram<Bytes<'d>>;

/// The rows of a unit's line program, as far as they have a place.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Sorted by where they begin; each ends where the program says.
    sequences: Vec<Sequence>,
    rows: Vec<LineRow>,
}

#[derive(Debug)]
struct Sequence {
    begin: u64,
    end: u64,
    first: usize,
    last: usize,
}

#[derive(Clone, Copy, Debug)]
struct LineRow {
    address: u64,
    file: Option<FileNumber>,
    line: u32,
}

impl Lines {
    /// Runs a unit's line program. A program that breaks off keeps the
    /// sequences before.
    pub(crate) fn read(program: &Program<'_>, budget: &Budget) -> Self {
        let mut lines = Self::default();
        let _ = lines.run(program, budget);
        lines.sequences.sort_unstable_by_key(|s| (s.begin, s.end));
        lines
    }

    fn run(&mut self, program: &Program<'_>, budget: &Budget) -> Option<()> {
        let mut rows = program.clone().rows();
        let mut first = 0;
        while let Some((_, row)) = rows.next_row().ok()? {
            budget.spend(KEPT)?;
            if row.end_sequence() {
                self.end_sequence(first, row.address());
                first = self.rows.len();
                continue;
            }
            let next = LineRow {
                address: row.address(),
                file: FileNumber::new(row.file_index()),
                line: row
                    .line()
                    .map_or(0, |line| u32::try_from(line.get()).unwrap_or(0)),
            };
            let begun = self.rows.len() > first;
            match self
                .rows
                .last_mut()
                .filter(|last| begun && last.address == next.address)
            {
                Some(last) => *last = next,
                None => self.rows.push(next),
            }
        }
        Some(())
    }

    fn end_sequence(&mut self, first: usize, end: u64) {
        match self.rows.get(first) {
            Some(row) if row.address < end => self.sequences.push(Sequence {
                begin: row.address,
                end,
                first,
                last: self.rows.len(),
            }),
            // Dead code that the linker dropped.
            _ => self.rows.truncate(first),
        }
    }

    /// File and line (0: none) of an address.
    pub(crate) fn find(&self, address: u64) -> Option<(Option<FileNumber>, u32)> {
        let after = self.sequences.partition_point(|s| s.begin <= address);
        let sequence = &self.sequences[after.checked_sub(1)?];
        if address >= sequence.end {
            return None;
        }
        let rows = &self.rows[sequence.first..sequence.last];
        let row = rows[rows
            .partition_point(|row| row.address <= address)
            .checked_sub(1)?];
        Some((row.file, row.line))
    }
}

/// Path of a file of a unit's line table; relative ones get the directory in
/// which the compiler ran.
pub(crate) fn path<'d>(
    unit: &UnitRef<'_, 'd>,
    program: &Program<'d>,
    number: FileNumber,
    budget: &Budget,
) -> Option<String> {
    let header = program.header();
    let file = header.file(number.get())?;
    let mut path = String::new();
    if let Some(directory) = unit.comp_dir {
        push(&mut path, directory, budget)?;
    }
    // Directory 0 is the compiler's own.
    if file.directory_index() != 0
        && let Some(directory) = file.directory(header)
    {
        push(&mut path, unit.attr_string(directory).ok()?, budget)?;
    }
    push(&mut path, unit.attr_string(file.path_name()).ok()?, budget)?;
    Some(path)
}

fn push(path: &mut String, piece: Bytes<'_>, budget: &Budget) -> Option<()> {
    /// As long as a path can be on Linux.
    const PATH_MAX: usize = 4096;
    budget.spend_on_string(piece)?;
    if piece.len() > PATH_MAX {
        return None;
    }
    let piece = piece.to_string_lossy();
    if piece.starts_with('/') {
        path.clear();
    } else if !path.is_empty() && !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(&piece);
    Some(())
}
