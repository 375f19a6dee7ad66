//! Stacks with their frames named.

use super::{Frame, Reason, plumbing};
use crate::units::StackId;
use rustc_hash::FxHashMap;

/// The frames of every stack, each different frame kept once.
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    frames: Vec<Frame>,
    numbers: FxHashMap<Frame, u32>,
    stacks: FxHashMap<StackId, Vec<u32>>,
}

impl SymbolTable {
    /// A table without stacks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds a table from what [`SymbolTable::rows`] gave: the frames of a
    /// stack in their order, innermost first.
    pub fn from_rows(rows: impl IntoIterator<Item = (StackId, Frame)>) -> Self {
        let mut table = Self::new();
        for (id, frame) in rows {
            let number = table.intern(frame);
            table.stacks.entry(id).or_default().push(number);
        }
        table
    }

    /// Every frame of every stack, stacks in the order of their ids, frames
    /// innermost first.
    pub fn rows(&self) -> impl Iterator<Item = (StackId, &Frame)> {
        let mut ids: Vec<_> = self.stacks.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().flat_map(move |id| {
            let numbers = self.stacks[&id].iter();
            numbers.map(move |&number| (id, &self.frames[number as usize]))
        })
    }

    /// Frames of a stack, innermost first; never empty: a stack that is not
    /// here is a frame that says why.
    #[must_use]
    pub fn frames(&self, id: StackId) -> Vec<Frame> {
        match self.stacks.get(&id) {
            Some(numbers) if !numbers.is_empty() => {
                let frame = |&number: &u32| self.frames[number as usize].clone();
                numbers.iter().map(frame).collect()
            }
            _ if id == StackId(0) => vec![Reason::NoStack.frame()],
            _ => vec![Reason::StackLost.frame()],
        }
    }

    /// The frame that answers for what the stack did (see [`plumbing::location`]).
    #[must_use]
    pub fn location(&self, id: StackId) -> Frame {
        let frames = self.frames(id);
        plumbing::location(&frames).clone()
    }

    /// Number of stacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether there is no stack.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// Number of different frames.
    #[must_use]
    pub fn distinct_frames(&self) -> usize {
        self.frames.len()
    }

    /// Gives a stack its frames, innermost first.
    pub fn insert(&mut self, id: StackId, frames: impl IntoIterator<Item = Frame>) {
        let numbers = frames.into_iter().map(|frame| self.intern(frame)).collect();
        self.stacks.insert(id, numbers);
    }

    /// The number of a frame.
    pub(super) fn intern(&mut self, frame: Frame) -> u32 {
        if let Some(&number) = self.numbers.get(&frame) {
            return number;
        }
        let number = u32::try_from(self.frames.len()).expect("fewer than 2^32 different frames");
        self.frames.push(frame.clone());
        self.numbers.insert(frame, number);
        number
    }

    /// Gives a stack frames that were interned before.
    pub(super) fn insert_numbers(&mut self, id: StackId, numbers: Vec<u32>) {
        self.stacks.insert(id, numbers);
    }

    /// A frame by its number.
    pub(super) fn frame(&self, number: u32) -> &Frame {
        &self.frames[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str) -> Frame {
        Frame {
            function: Some(name.to_owned()),
            ..Frame::default()
        }
    }

    #[test]
    fn rows_rebuild_the_same_table() {
        let mut table = SymbolTable::new();
        table.insert(StackId(9), [frame("malloc"), frame("main")]);
        table.insert(StackId(3), [frame("main")]);
        let rows: Vec<_> = table.rows().map(|(id, f)| (id, f.clone())).collect();
        assert_eq!(
            rows,
            [
                (StackId(3), frame("main")),
                (StackId(9), frame("malloc")),
                (StackId(9), frame("main")),
            ]
        );
        let again = SymbolTable::from_rows(rows);
        assert_eq!(again.frames(StackId(9)), table.frames(StackId(9)));
        assert_eq!((again.len(), again.distinct_frames()), (2, 2));
    }

    #[test]
    fn an_absent_stack_is_a_frame_with_a_reason() {
        let table = SymbolTable::new();
        assert_eq!(table.frames(StackId(0)), [Reason::NoStack.frame()]);
        assert_eq!(table.frames(StackId(1)), [Reason::StackLost.frame()]);
        assert_eq!(table.location(StackId(1)), Reason::StackLost.frame());
    }
}
