//! A file's unwind table: sorted rows over file offsets.

use super::coverage::Coverage;
use std::ops::Range;
use tracer_ebpf::tables::{NO_RULE, Rule, cfa, ra};

/// Rows of a file at most (32 MiB in the kernel). Chromium has about 6 million.
pub(super) const MAX_ROWS: usize = 8 << 20;

/// From `offset` up to the next row, `rule` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// File offset.
    pub offset: u32,
    /// Index in [`Table::rules`].
    pub rule: u32,
}

/// A file's unwind table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Sorted by offset, no two neighbours with the same rule.
    pub rows: Vec<Row>,
    /// What the rows name; the first is always "no unwind information".
    pub rules: Vec<Rule>,
    /// What it covers.
    pub coverage: Coverage,
}

impl Table {
    /// Puts rows, in order, into gaps between the others.
    pub(super) fn splice(&mut self, gaps: &[Range<u32>], derived: &[Row]) {
        let mut rows = Vec::with_capacity(self.rows.len() + derived.len() + gaps.len());
        let (mut taken, mut left) = (0, derived);
        for gap in gaps {
            let before = |offset: u32| move |row: &Row| row.offset < offset;
            let start = self.rows.partition_point(before(gap.start));
            let end = self.rows.partition_point(before(gap.end));
            let inside = left.partition_point(before(gap.end));
            rows.extend_from_slice(&self.rows[taken..start]);
            rows.extend_from_slice(&left[..inside]);
            rows.push(Row {
                offset: gap.end,
                rule: self.in_force(gap.end),
            });
            (taken, left) = (end, &left[inside..]);
        }
        rows.extend_from_slice(&self.rows[taken..]);
        rows.dedup_by_key(|row| row.offset);
        rows.dedup_by_key(|row| row.rule);
        self.rows = rows;
        self.coverage.rows = self.rows.len() as u64;
        self.coverage.rules = self.rules.len() as u64;
    }

    fn in_force(&self, offset: u32) -> u32 {
        let after = self.rows.partition_point(|row| row.offset <= offset);
        after
            .checked_sub(1)
            .map_or(NO_RULE, |at| self.rows[at].rule)
    }
}

/// What stands for every rule that can't be followed.
pub(super) const UNSUPPORTED: Rule = Rule {
    cfa: cfa::UNSUPPORTED,
    ra: ra::NORMAL,
    bp: tracer_ebpf::tables::bp::SAME,
    signal: 0,
    cfa_offset: 0,
    cfa_add: 0,
    ra_offset: 0,
    bp_offset: 0,
    bx_offset: 0,
};
