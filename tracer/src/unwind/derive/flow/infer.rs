//! The frame of code that no known path leads to, from where it leads.
//!
//! Where a function returns, its return address is on top of the stack. So what
//! the way there does to the stack pointer says how far off it is at the start.

use super::Flow;
use crate::unwind::derive::state::{Op, Origin, Saved, StackSlot, State, TOP};
use crate::unwind::derive::sweep::Goes;
use rustc_hash::FxHashSet;
use std::collections::VecDeque;

/// Instructions that are looked at for one answer.
const MAX_LOOKS: usize = 512;

/// Where the caller's rbp was when the way began.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// Not told yet.
    Unknown,
    /// In rbp, which was then saved there.
    Pushed(StackSlot),
    /// There, from where it was restored.
    Popped(StackSlot),
}

/// A way from the start.
#[derive(Clone, Copy)]
struct Way {
    state: State,
    caller: Caller,
}

/// rbp as it was at the start.
const BP: StackSlot = StackSlot::new(Origin::Bp, 0);

/// The frame at an instruction; `looks` is what all inferences may cost.
pub(super) fn infer(flow: &Flow<'_>, from: usize, looks: &mut usize) -> Option<State> {
    let start = Way {
        state: State {
            sp: Some(StackSlot::new(Origin::Sp, 0)),
            bp: Some(BP),
            saved: Saved::Lost,
            end: false,
        },
        caller: Caller::Unknown,
    };
    let mut seen = FxHashSet::from_iter([from]);
    let mut left = VecDeque::from([(from, start)]);
    while let Some((at, way)) = left.pop_front() {
        *looks = looks.checked_sub(1)?;
        let instruction = flow.code().instructions[at];
        if instruction.goes == Goes::Return
            && let Some(found) = way.start(State::ENTRY)
        {
            return Some(found);
        }
        let way = way.after(instruction.op)?;
        for next in flow.next(at) {
            if let Some(known) = flow.state(next).filter(|known| !known.end) {
                if let Some(found) = way.start(known) {
                    return Some(found);
                }
            } else if seen.len() < MAX_LOOKS && seen.insert(next) {
                left.push_back((next, way));
            }
        }
    }
    None
}

impl Way {
    fn after(mut self, op: Op) -> Option<Self> {
        let sp = self.state.sp;
        let (saved, restored) = match op {
            Op::Push => (sp.and_then(|sp| sp.plus(-8)), None),
            Op::Store(offset) => (sp.and_then(|sp| sp.plus(offset)), None),
            Op::Pop => (None, sp),
            Op::Leave => (None, self.state.bp),
            Op::Load(offset) => (None, sp.and_then(|sp| sp.plus(offset))),
            _ => (None, None),
        };
        let intact = self.state.bp == Some(BP);
        self.state = self.state.after(op);
        match (self.caller, saved, restored) {
            (Caller::Unknown, Some(place), _) if intact => self.caller = Caller::Pushed(place),
            (Caller::Unknown, _, Some(place)) => self.caller = Caller::Popped(place),
            (Caller::Pushed(own), _, Some(place)) if own == place => {
                self.caller = Caller::Unknown;
                self.state.bp = Some(BP);
            }
            _ => {}
        }
        Some(self)
    }

    /// The frame at the start, given that of where the way has come to.
    fn start(self, here: State) -> Option<State> {
        let cfa = |place: Option<StackSlot>| place.filter(|p| p.origin == Origin::Cfa);
        let (then, now) = match (self.state.sp, cfa(here.sp), self.state.bp, cfa(here.bp)) {
            (Some(then), Some(now), ..) => (then, now),
            (_, _, Some(then), Some(now)) => (then, now),
            _ => return None,
        };
        let shift = now.offset.checked_sub(then.offset)?;
        let start = StackSlot::new(Origin::Cfa, 0).plus(shift)?;
        let (sp, bp) = match then.origin {
            Origin::Sp => (Some(start), None),
            Origin::Bp => (None, Some(start)),
            Origin::Cfa => return None,
        };
        if start.offset > TOP.offset {
            return None;
        }
        let intact = self.state.bp == Some(BP);
        let saved = match (self.caller, here.saved) {
            (Caller::Pushed(_), _) => Saved::Not,
            (Caller::Popped(at), _) if at.origin == then.origin => {
                start.plus(at.offset).map_or(Saved::Lost, Saved::At)
            }
            (Caller::Popped(_), _) => Saved::Lost,
            (Caller::Unknown, Saved::Not) if !intact => Saved::Lost,
            (Caller::Unknown, here) => here,
        };
        Some(State {
            sp,
            bp,
            saved,
            end: false,
        })
    }
}
