//! What of a file its table covers.

use super::rule::Unsupported;
use std::collections::BTreeMap;

/// What became of a file's unwind information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Functions (FDEs) with rows in the table.
    pub functions: u64,
    /// Bytes of code that they span.
    pub covered_bytes: u64,
    /// Bytes of executable segments.
    pub code_bytes: u64,
    /// Rows of the table.
    pub rows: u64,
    /// Bytes of code without unwind information for which rules were derived from
    /// the instructions.
    pub derived_bytes: u64,
    /// Distinct rules.
    pub rules: u64,
    /// Bytes of code under rules that can be followed in the innermost frame only,
    /// as they need a register that is not restored on the way.
    pub leaf_bytes: u64,
    /// Bytes of code under rules that can't be followed, by kind.
    pub unsupported_bytes: BTreeMap<Unsupported, u64>,
    /// Functions whose unwind information is malformed.
    pub malformed: u64,
    /// Functions outside of every executable segment, or that overlap another.
    pub misplaced: u64,
    /// Functions left out because the file asks for more rows, rules or work than
    /// any honest file.
    pub over_budget: u64,
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = 100.0 * self.covered_bytes as f64 / self.code_bytes.max(1) as f64;
        writeln!(f, "functions   {}", self.functions)?;
        writeln!(
            f,
            "code        {} bytes, {share:.1} % covered",
            self.code_bytes
        )?;
        writeln!(
            f,
            "derived     {} bytes by their instructions",
            self.derived_bytes
        )?;
        writeln!(f, "rows        {} ({} rules)", self.rows, self.rules)?;
        writeln!(f, "leaf only   {} bytes", self.leaf_bytes)?;
        for (kind, bytes) in &self.unsupported_bytes {
            writeln!(f, "unsupported {bytes} bytes: {kind}")?;
        }
        for (count, what) in [
            (self.malformed, "malformed"),
            (self.misplaced, "outside of code or overlapping"),
            (self.over_budget, "over budget"),
        ] {
            if count > 0 {
                writeln!(f, "left out    {count} functions: {what}")?;
            }
        }
        Ok(())
    }
}
