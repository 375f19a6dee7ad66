//! Flame graphs: where the bytes of a peak come from, stack by stack.
//!
//! They hang from the top (as memray's do): the outermost frame is the first
//! line, and the picture ends where the stacks do.

mod palette;
mod svg;
mod tree;

use super::metric::{Metric, by_stack};
use super::processes::{self, Lives};
use super::text::{count, percent, seconds};
use super::{Concluded, Report};
use crate::ledger::account::{Reserver, Snapshot};
use crate::units::{Bytes, StackId};
use rustc_hash::FxHashMap;
use std::io::{self, Write};
use svg::Kind;
use tree::{Step, Tree};

pub(super) use svg::escape;

/// The three pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flame {
    /// Reserved bytes at the reserved peak, by reserver; the colour tells how
    /// much of them became resident.
    Reserved,
    /// Resident bytes at the resident peak, by reserver.
    Resident,
    /// Resident bytes at the resident peak, by toucher.
    Touched,
}

impl Report for Flame {
    fn file_name(&self) -> &'static str {
        match self {
            Self::Reserved => "reserved.svg",
            Self::Resident => "resident.svg",
            Self::Touched => "touched.svg",
        }
    }

    fn write(&self, input: &Concluded, out: &mut dyn Write) -> io::Result<()> {
        let tree = match self {
            Self::Reserved => reserved(input),
            Self::Resident => resident(input),
            Self::Touched => touched(input),
        };
        let picture = svg::Picture {
            title: format!("{}: {}", self.title(), input.command_line()),
            subtitle: self.subtitle(input),
            kind: match self {
                Self::Reserved => Kind::Resident,
                Self::Resident | Self::Touched => Kind::Module,
            },
            tree: &tree,
        };
        picture.write(out)
    }
}

impl Flame {
    fn title(self) -> &'static str {
        match self {
            Self::Reserved => "Reserved, by who reserved it",
            Self::Resident => "Resident, by who reserved it",
            Self::Touched => "Resident, by who touched it",
        }
    }

    fn subtitle(self, input: &Concluded) -> String {
        let account = &input.account;
        let at = |s: &Snapshot| seconds(s.at.0.saturating_sub(account.began.0));
        let (reserved, resident) = (&account.reserved_peak, &account.resident_peak);
        let text = match self {
            Self::Reserved => format!(
                "{} at the reserved peak ({}), {} resident at the resident peak ({})",
                reserved.reserved,
                at(reserved),
                resident.resident,
                at(resident)
            ),
            Self::Resident | Self::Touched => format!(
                "{} at the resident peak ({}), {} slack, {} unexplained",
                resident.resident,
                at(resident),
                resident.slack,
                percent(resident.unexplained.unsigned_abs(), resident.resident.0)
            ),
        };
        match input.lost_total() > 0 || !input.complete {
            true => format!("events are missing (see top.md); {text}"),
            false => text,
        }
    }
}

/// Draws what changed from one run to another, stack by stack. A frame is as wide as what both runs
/// have of it together: what is gone is seen as well as what came.
///
/// # Errors
/// Where writing fails.
pub fn difference(
    base: &Concluded,
    head: &Concluded,
    metric: Metric,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut tree = Tree::new(&base.symbols);
    let mut path = Vec::new();
    let mut sums = [0u64; 2];
    for (sum, input) in sums.iter_mut().zip([base, head]) {
        tree.steps.turn_to(&input.symbols);
        for (id, value) in by_stack(metric, &input.account) {
            path.clear();
            tree.steps.extend(&mut path, id);
            let of_head = if std::ptr::eq(input, head) { value } else { 0 };
            tree.add(&path, Bytes(value), Bytes(of_head));
            *sum = sum.saturating_add(value);
        }
    }
    let of_bytes = metric != Metric::Allocs;
    let amount = |value: u64| match of_bytes {
        true => Bytes(value).to_string(),
        false => count(value),
    };
    let picture = svg::Picture {
        title: format!("What changed in {metric}: {}", head.command_line()),
        subtitle: format!(
            "{} before, {} now; red has more now, blue has less; as wide as both together",
            amount(sums[0]),
            amount(sums[1])
        ),
        kind: Kind::Change { of_bytes },
        tree: &tree,
    };
    picture.write(out)
}

fn reserved(input: &Concluded) -> Tree<'_> {
    let mut residents: FxHashMap<StackId, Bytes> = FxHashMap::default();
    for &(reserver, bytes) in &input.account.resident_peak.resident_by_reserver {
        if let Reserver::Stack(id) = reserver {
            *residents.entry(id).or_default() += bytes;
        }
    }
    let mut tree = Tree::new(&input.symbols);
    let lives = Lives::new(&input.account.processes);
    let mut path = Vec::new();
    for &(id, bytes) in &input.account.reserved_peak.by_reserver {
        let resident = residents.get(&id).copied().unwrap_or_default();
        path.clear();
        add_stack(&mut tree, &mut path, input, &lives, id);
        tree.add(&path, bytes, resident);
    }
    tree
}

fn resident(input: &Concluded) -> Tree<'_> {
    let mut tree = Tree::new(&input.symbols);
    let lives = Lives::new(&input.account.processes);
    let mut path = Vec::new();
    for &(reserver, bytes) in &input.account.resident_peak.resident_by_reserver {
        path.clear();
        let mut category = |tree: &mut Tree<'_>, name, note| {
            path.push(tree.steps.add(Step::explained(name, note)));
        };
        match reserver {
            Reserver::Stack(id) => add_stack(&mut tree, &mut path, input, &lives, id),
            Reserver::Slack(id) => {
                let note = "in arenas of the allocator, in no live block; below, who grew them";
                category(&mut tree, "[slack]", note);
                add_stack(&mut tree, &mut path, input, &lives, id);
            }
            Reserver::Image => category(&mut tree, "[image]", "the program and its libraries"),
            Reserver::ThreadStack => {
                category(&mut tree, "[stack]", "the stack that the kernel made");
            }
            Reserver::Unknown => {
                let note = "the kernel counted it; no event says whose it is";
                category(&mut tree, "[unexplained]", note);
            }
        }
        tree.add(&path, bytes, bytes);
    }
    tree
}

fn touched(input: &Concluded) -> Tree<'_> {
    let mut tree = Tree::new(&input.symbols);
    let lives = Lives::new(&input.account.processes);
    let mut path = Vec::new();
    for &(id, bytes) in &input.account.resident_peak.resident_by_toucher {
        path.clear();
        match id {
            StackId(0) => {
                let note = "became resident while nobody was seen to touch it";
                path.push(tree.steps.add(Step::explained("[unknown]", note)));
            }
            id => add_stack(&mut tree, &mut path, input, &lives, id),
        }
        tree.add(&path, bytes, bytes);
    }
    tree
}

/// Adds the frames of a stack to a path, the outermost first, under their process if there are
/// several.
fn add_stack(
    tree: &mut Tree<'_>,
    path: &mut Vec<u32>,
    input: &Concluded,
    lives: &Lives,
    id: StackId,
) {
    if input.account.processes.len() > 1
        && let Some((pid, time)) = input.symbols.process(id)
        && let Some(index) = lives.find(pid, time)
    {
        let name = crate::symbols::escape(&format!(
            "[{}]",
            processes::name(&input.run, &input.account, index)
        ));
        let note = processes::line(&input.run, index);
        let note = note.unwrap_or_else(|| "its command is not known".to_owned());
        path.push(tree.steps.add(Step::explained(&name, &note)));
    }
    tree.steps.extend(path, id);
}
