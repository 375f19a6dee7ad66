//! How the stacks ended: whole, or cut for a reason that is named, by probe and
//! by the module at which they end.

use super::Concluded;
use super::text::{count, printable};
use crate::symbols::{Frame, Reason};
use crate::units::StackId;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Modules that are listed.
const MODULES: usize = 20;

/// Events by how their stacks ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StackEnds {
    /// Whose stack goes down to the entry of its process or thread.
    pub complete: u64,
    /// Whose stack is cut or was lost.
    pub incomplete: u64,
    /// By kind of probe and end.
    pub by_probe: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Of the incomplete ones: module of the outermost frame, end, count; the
    /// most frequent first.
    pub by_module: Vec<(String, &'static str, u64)>,
}

/// Counts them.
pub(super) fn stack_ends(input: &Concluded) -> StackEnds {
    let mut ends = StackEnds::default();
    let mut known: FxHashMap<StackId, Option<(String, &'static str)>> = FxHashMap::default();
    let mut modules: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    for &(id, probe, count) in &input.account.stack_uses {
        let end = known
            .entry(id)
            .or_insert_with(|| cut(&input.symbols.frames(id)));
        let name = end.as_ref().map_or("complete", |&(_, name)| name);
        let of_probe = ends.by_probe.entry(probe.name()).or_default();
        *of_probe.entry(name).or_default() += count;
        match end {
            None => ends.complete += count,
            Some(end) => {
                ends.incomplete += count;
                *modules.entry(end.clone()).or_default() += count;
            }
        }
    }
    let mut by_module: Vec<_> = modules
        .into_iter()
        .map(|((module, end), count)| (module, end, count))
        .collect();
    by_module.sort_by_key(|&(.., count)| Reverse(count));
    by_module.truncate(MODULES);
    ends.by_module = by_module;
    ends
}

/// Where and why a stack is cut; nothing where it is whole.
fn cut(frames: &[&Frame]) -> Option<(String, &'static str)> {
    let (last, others) = frames.split_last()?;
    let name = last.function.as_deref()?;
    let reason = Reason::ALL
        .into_iter()
        .find(|reason| reason.is_end() && reason.text() == name)?;
    let module = others.last().and_then(|frame| frame.module.clone());
    let module = module.unwrap_or_else(|| "[unknown]".to_owned());
    Some((module, reason.name()))
}

/// What there is to say in a line: `99.901 % of 25,400 are complete; 25 are cut,
/// most often in libfoo.so (20 no table)`.
pub(super) fn sentence(ends: &StackEnds) -> String {
    let all = ends.complete + ends.incomplete;
    if all == 0 {
        return "none".to_owned();
    }
    if ends.incomplete == 0 {
        return format!("all of {} are complete", count(all));
    }
    let mut text = format!(
        "{} of {} are complete; {} cut",
        share(ends.complete, all),
        count(all),
        number(ends.incomplete)
    );
    if let Some((module, end, number)) = ends.by_module.first() {
        text.push_str(&format!(
            ", most often in {} ({} {})",
            printable(module),
            count(*number),
            end.replace('_', " ")
        ));
    }
    text
}

/// `1 is`, `2 are`.
fn number(of: u64) -> String {
    let verb = if of == 1 { "is" } else { "are" };
    format!("{} {verb}", count(of))
}

/// A percentage rounded down, so that it never says 100 of less than all.
fn share(part: u64, whole: u64) -> String {
    let thousandths = u128::from(part) * 100_000 / u128::from(whole.max(1));
    format!("{}.{:03} %", thousandths / 1000, thousandths % 1000)
}
