//! Carries frames along every path.

mod infer;

use super::state::{State, TOP};
use super::sweep::{Code, Goes};
use crate::unwind::table::UNSUPPORTED;
use infer::infer;
use tracer_ebpf::tables::Rule;

/// Instructions that inferences may look at, for each that there is.
const MAX_LOOKS: usize = 4;

/// Where compilers begin functions.
const ALIGNMENT: u32 = 16;

/// The frame at each instruction, as far as it is known.
pub(super) struct Flow<'a> {
    code: &'a Code,
    states: Vec<Option<State>>,
    /// Whether a way leads from it to a return, …
    returns: Vec<bool>,
    /// … or to where nobody knows.
    may_return: Vec<bool>,
    /// Instructions that are reached from each other, as a forest: whatever
    /// contradicts itself takes all of its tree along.
    parents: Vec<u32>,
    contradicted: Vec<bool>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(code: &'a Code) -> Self {
        let count = code.instructions.len();
        Self {
            code,
            states: vec![None; count],
            returns: vec![false; count],
            may_return: vec![false; count],
            parents: (0..count as u32).collect(),
            contradicted: vec![false; count],
        }
    }

    /// Finds what there is to know.
    pub(super) fn run(&mut self) {
        self.may_return = self.find_returns(|goes| matches!(goes, Goes::Return | Goes::Away));
        self.returns = self.find_returns(|goes| goes == Goes::Return);
        for &entry in &self.code.entries {
            if let Some(at) = self.code.find(entry) {
                let end = self.code.start == Some(entry);
                self.spread(
                    at,
                    State {
                        end,
                        ..State::ENTRY
                    },
                );
            }
        }
        let mut looks = self.code.instructions.len().saturating_mul(MAX_LOOKS);
        for at in 0..self.code.instructions.len() {
            if self.states[at].is_none()
                && self.may_begin(at)
                && let Some(state) = self.beginning(at, &mut looks)
            {
                self.spread(at, state);
            }
        }
        self.check();
    }

    /// The rule at an instruction.
    pub(super) fn rule(&self, at: usize) -> Rule {
        match self.states[at] {
            Some(state) if !self.contradicted[self.parents[at] as usize] => state.rule(),
            _ => UNSUPPORTED,
        }
    }

    pub(super) fn state(&self, at: usize) -> Option<State> {
        self.states[at]
    }

    pub(super) fn code(&self) -> &'a Code {
        self.code
    }

    /// Where control may go from an instruction, but for calls and returns.
    pub(super) fn next(&self, at: usize) -> impl Iterator<Item = usize> + use<'a> {
        let jumped = match self.code.instructions[at].goes {
            Goes::Branch(to) | Goes::Jump(to) => self.code.find(to),
            _ => None,
        };
        let through = match self.code.instructions[at].goes {
            Goes::Call(callee) if !self.call_returns(callee) => None,
            _ => self.through(at),
        };
        through.into_iter().chain(jumped)
    }

    /// The next instruction, where control falls through to it. Nobody falls
    /// into a function from a call, nor through padding: that call does not
    /// return. What is called elsewhere may not return either, and what stands
    /// where functions do may be one; if not, [`infer`] finds it.
    fn through(&self, at: usize) -> Option<usize> {
        let after = self.code.after(at)?;
        let this = &self.code.instructions[at];
        let next = &self.code.instructions[after];
        let doubtful = match this.goes {
            Goes::CallAway => true,
            Goes::Call(callee) => self.code.find(callee).is_none_or(|at| !self.returns[at]),
            _ => false,
        };
        let stops = doubtful && (next.padding || next.at.is_multiple_of(ALIGNMENT));
        (!stops && !self.is_border(at, after)).then_some(after)
    }

    fn call_returns(&self, callee: u32) -> bool {
        self.code.find(callee).is_none_or(|at| self.may_return[at])
    }

    /// Finds what leads to an end, or out of the code: what follows the call of
    /// a function that does not belongs to another.
    fn find_returns(&self, is_end: impl Fn(Goes) -> bool) -> Vec<bool> {
        let code = self.code;
        let mut returns = vec![false; code.instructions.len()];
        let (jumps, calls) = code.references();
        let mut found: Vec<usize> = (0..returns.len())
            .filter(|&at| {
                let goes = code.instructions[at].goes;
                is_end(goes) || goes.falls_through() && code.after(at).is_none()
            })
            .collect();
        while let Some(at) = found.pop() {
            if std::mem::replace(&mut returns[at], true) {
                continue;
            }
            found.extend(of(&jumps, at));
            let on = |&call: &usize| code.after(call).is_some_and(|next| returns[next]);
            found.extend(of(&calls, at).filter(on));
            let before = at.checked_sub(1).filter(|&b| code.after(b) == Some(at));
            found.extend(before.filter(|&b| match code.instructions[b].goes {
                Goes::Call(callee) => code.find(callee).is_none_or(|callee| returns[callee]),
                _ => !self.is_border(b, at),
            }));
        }
        returns
    }

    /// Whether a function begins where no control comes from before.
    fn is_border(&self, before: usize, at: usize) -> bool {
        let this = &self.code.instructions[before];
        let called = matches!(this.goes, Goes::Call(_) | Goes::CallAway);
        (called || this.padding) && self.code.is_entry(self.code.instructions[at].at)
    }

    /// Whether what comes before leads elsewhere.
    fn may_begin(&self, at: usize) -> bool {
        let code = self.code;
        let Some(before) = at.checked_sub(1) else {
            return !code.instructions[at].padding;
        };
        let led = self.next(before).any(|next| next == at) && !code.instructions[before].padding;
        !code.instructions[at].padding && !led
    }

    /// The frame of code that nothing is known to lead to.
    fn beginning(&self, at: usize, looks: &mut usize) -> Option<State> {
        infer(self, at, looks).or_else(|| {
            let offset = self.code.instructions[at].at;
            let taken = self.code.taken.binary_search(&offset).is_ok();
            taken.then_some(State::ENTRY)
        })
    }

    /// Carries a frame as far as it goes.
    fn spread(&mut self, from: usize, state: State) {
        let mut left = vec![(from, state)];
        while let Some((at, state)) = left.pop() {
            let joined = match self.states[at] {
                None => state,
                Some(known) => {
                    let (joined, contradict) = known.join(state);
                    self.contradicted[at] |= contradict;
                    if joined == known {
                        continue;
                    }
                    joined
                }
            };
            self.states[at] = Some(joined);
            let after = joined.after(self.code.instructions[at].op);
            for next in self.next(at) {
                if !self.code.is_entry(self.code.instructions[next].at) {
                    left.push((next, after));
                }
            }
        }
    }

    /// Finds what contradicts itself.
    fn check(&mut self) {
        for at in 0..self.states.len() {
            let Some(state) = self.states[at] else {
                continue;
            };
            let instruction = self.code.instructions[at];
            let on_top = state.sp.is_none_or(|sp| sp == TOP);
            if instruction.goes == Goes::Return && (!on_top || state.end) {
                self.contradicted[at] = true;
            }
            let after = state.after(instruction.op);
            for next in self.next(at) {
                let entered = self.code.is_entry(self.code.instructions[next].at);
                // A jump to another function leaves the stack as that wants it.
                let fits = after.sp.is_none_or(|sp| sp == TOP);
                if !entered || !fits {
                    self.unite(at, next);
                }
                self.contradicted[at] |= entered && !fits;
            }
        }
        // Parents come before their children: one pass leads all to the roots.
        for at in 0..self.parents.len() {
            self.parents[at] = self.parents[self.parents[at] as usize];
        }
        for at in 0..self.states.len() {
            if self.contradicted[at] {
                self.contradicted[self.parents[at] as usize] = true;
            }
        }
    }

    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.shorten(a), self.shorten(b));
        self.parents[a.max(b)] = a.min(b) as u32;
    }

    /// The root, with the way to it halved.
    fn shorten(&mut self, mut at: usize) -> usize {
        while self.parents[at] as usize != at {
            self.parents[at] = self.parents[self.parents[at] as usize];
            at = self.parents[at] as usize;
        }
        at
    }
}

/// The second of all pairs that begin with `first`.
fn of(pairs: &[(usize, usize)], first: usize) -> impl Iterator<Item = usize> {
    let from = pairs.partition_point(|pair| pair.0 < first);
    let same = pairs[from..].iter().take_while(move |pair| pair.0 == first);
    same.map(|pair| pair.1)
}
