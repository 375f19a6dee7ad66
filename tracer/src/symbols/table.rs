//! Stacks with their frames named.

use super::pass_through::{self, Class};
use super::places::{Places, Spot};
use super::resolve::module_name;
use super::{Frame, Reason, reason};
use crate::events::{Captured, Module, StackEnd};
use crate::recording::ResolvedAddress;
use crate::units::{Address, Nanos, Pid, StackId};
use rustc_hash::FxHashMap;
use std::sync::LazyLock;

/// How frames begin whose address is in no file that was seen mapped.
const UNKNOWN: &str = "[not a known module";

/// The frames of every stack, each different frame kept once.
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    frames: Vec<Frame>,
    /// What each frame is to tables of locations.
    classes: Vec<Class>,
    numbers: FxHashMap<Frame, u32>,
    stacks: FxHashMap<StackId, Vec<u32>>,
    processes: FxHashMap<StackId, (Pid, Nanos)>,
}

impl SymbolTable {
    /// Joins stacks with the symbols of their places, as a recording has them.
    /// A place without a symbol is a frame that has its module and offset.
    #[must_use]
    pub fn new(
        stacks: &[Captured],
        modules: &[Module],
        symbols: impl IntoIterator<Item = ResolvedAddress>,
    ) -> Self {
        let places = Places::new(modules);
        let mut table = Self::default();
        let mut known: FxHashMap<Spot, Vec<u32>> = FxHashMap::default();
        for symbol in symbols {
            if let Some(spot) = places.find(&symbol.place) {
                let numbers = symbol.frames.into_iter().map(|frame| table.intern(frame));
                known.insert(spot, numbers.collect());
            }
        }
        for stack in stacks {
            table.add(stack, &places, &known);
        }
        table
    }

    fn add(&mut self, stack: &Captured, places: &Places<'_>, known: &FxHashMap<Spot, Vec<u32>>) {
        let mut numbers = Vec::with_capacity(stack.frames.len() + 1);
        for index in 0..stack.frames.len() {
            match places.spot(stack, index) {
                None => {
                    let Address(address) = stack.frames[index];
                    let frame = Reason::UnknownModule.frame_at(None, address);
                    numbers.push(self.intern(frame));
                }
                Some((spot, module)) => match known.get(&spot) {
                    Some(found) => numbers.extend(found),
                    None => numbers.push(self.intern(unnamed(spot, module))),
                },
            }
        }
        let name = |number: u32| self.frames[number as usize].function.as_deref();
        // What a walk makes of the words below the first frame is in no file.
        let bogus = |&&number: &&u32| name(number).is_some_and(|n| n.starts_with(UNKNOWN));
        let tail = numbers.iter().rev().take_while(bogus).count();
        let outermost = |numbers: &[u32]| numbers.last().and_then(|&number| name(number));
        let real = numbers.len() - tail;
        let at_bottom = outermost(&numbers[..real]).is_some_and(reason::is_bottom);
        // Nor is what a frame pointer led to where there is no code: the stack is cut before it.
        let astray = stack.end == StackEnd::NoTable && real > 0;
        if at_bottom || astray {
            numbers.truncate(real);
        }
        let at_entry = outermost(&numbers).is_some_and(reason::is_entry);
        let reason = Reason::of_end(stack.end, at_entry).filter(|_| !at_bottom);
        if let Some(reason) = reason {
            numbers.push(self.intern(reason.frame()));
        }
        self.stacks.insert(stack.id, numbers);
        self.processes.insert(stack.id, (stack.pid, stack.time));
    }

    /// Gives a stack its frames, innermost first.
    pub fn insert(&mut self, id: StackId, frames: impl IntoIterator<Item = Frame>) {
        let numbers = frames.into_iter().map(|frame| self.intern(frame)).collect();
        self.stacks.insert(id, numbers);
    }

    /// Frames of a stack, innermost first; never empty: a stack that is not
    /// here is a frame that says why.
    #[must_use]
    pub fn frames(&self, id: StackId) -> Vec<&Frame> {
        static NONE: LazyLock<Frame> = LazyLock::new(|| Reason::NoStack.frame());
        static KERNEL: LazyLock<Frame> = LazyLock::new(|| Reason::Kernel.frame());
        static ANOTHER: LazyLock<Frame> = LazyLock::new(|| Reason::AnotherProcess.frame());
        static FOUND: LazyLock<Frame> = LazyLock::new(|| Reason::Found.frame());
        static LOST: LazyLock<Frame> = LazyLock::new(|| Reason::StackLost.frame());
        match self.stacks.get(&id) {
            Some(numbers) if !numbers.is_empty() => {
                let frame = |&number: &u32| &self.frames[number as usize];
                numbers.iter().map(frame).collect()
            }
            _ => vec![match id {
                StackId(0) => &NONE,
                StackId::KERNEL => &KERNEL,
                StackId::ANOTHER => &ANOTHER,
                StackId::FOUND => &FOUND,
                _ => &LOST,
            }],
        }
    }

    /// The numbers of a stack's frames ([`frame`](Self::frame)), innermost first; none where the
    /// stack is not here. Equal frames have one number.
    #[must_use]
    pub fn numbers(&self, id: StackId) -> &[u32] {
        self.stacks.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The frame of a number.
    ///
    /// # Panics
    /// Where the number is no frame's of this table.
    #[must_use]
    pub fn frame(&self, number: u32) -> &Frame {
        &self.frames[number as usize]
    }

    /// The frame that answers for what the stack did (see [`super::location`]).
    #[must_use]
    pub fn location(&self, id: StackId) -> &Frame {
        self.chosen(id, |classes| pass_through::reserving(classes))
    }

    /// The frame that answers for memory that the stack touched (see [`super::toucher`]).
    #[must_use]
    pub fn toucher(&self, id: StackId) -> &Frame {
        self.chosen(id, |classes| pass_through::touching(classes))
    }

    fn chosen(&self, id: StackId, choose: impl Fn(&[&Class]) -> Option<usize>) -> &Frame {
        let numbers = self.stacks.get(&id).map_or(&[][..], Vec::as_slice);
        let classes: Vec<&Class> = numbers.iter().map(|&n| &self.classes[n as usize]).collect();
        match choose(&classes) {
            Some(at) => &self.frames[numbers[at] as usize],
            // A stack that is not here is one frame that says why.
            None => self.frames(id)[0],
        }
    }

    /// The process in which a stack was first seen, and when.
    #[must_use]
    pub fn process(&self, id: StackId) -> Option<(Pid, Nanos)> {
        self.processes.get(&id).copied()
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

    fn intern(&mut self, frame: Frame) -> u32 {
        if let Some(&number) = self.numbers.get(&frame) {
            return number;
        }
        let number = u32::try_from(self.frames.len()).expect("fewer than 2^32 different frames");
        self.classes.push(Class::of(&frame));
        self.frames.push(frame.clone());
        self.numbers.insert(frame, number);
        number
    }
}

/// A frame of which only the place is known.
fn unnamed(spot: Spot, module: &Module) -> Frame {
    match spot {
        Spot::Process(_, Address(address)) => Reason::AnonymousCode.frame_at(None, address),
        Spot::File(_, offset) => Frame {
            module: Some(module_name(&module.path)),
            offset,
            ..Frame::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::StackEnd;
    use crate::files::Identity;
    use crate::recording::CodeAddress;
    use crate::units::Bytes;

    fn frame(name: &str) -> Frame {
        Frame {
            function: Some(name.to_owned()),
            ..Frame::default()
        }
    }

    fn module(address: u64, path: &str) -> Module {
        Module {
            pid: Pid(1),
            time: Nanos(0),
            address: Address(address),
            length: Bytes(0x1000),
            offset: 0,
            path: path.to_owned(),
            identity: Identity::default(),
        }
    }

    fn stack(end: StackEnd, frames: &[u64]) -> Captured {
        Captured {
            id: StackId(9),
            pid: Pid(1),
            time: Nanos(0),
            end,
            frames: frames.iter().map(|&address| Address(address)).collect(),
        }
    }

    fn symbol(offset: u64, names: &[&str]) -> ResolvedAddress {
        ResolvedAddress {
            place: CodeAddress::File {
                path: "/lib/a.so".to_owned(),
                build_id: None,
                offset,
            },
            frames: names.iter().map(|name| frame(name)).collect(),
        }
    }

    fn names(end: StackEnd, frames: &[u64]) -> Vec<String> {
        let modules = [module(0x1000, "/lib/a.so"), module(0x3000, "//anon")];
        let symbols = [
            symbol(0x10, &["malloc"]),
            symbol(0x20, &["inlined", "_start"]),
        ];
        let table = SymbolTable::new(&[stack(end, frames)], &modules, symbols);
        let frames = table.frames(StackId(9));
        frames.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn stacks_are_joined_with_the_symbols_of_their_places() {
        let frames = [0x1010, 0x1031, 0x3008, 0x9999, 0x1021];
        assert_eq!(
            names(StackEnd::Complete, &frames),
            [
                "malloc",
                "a.so+0x30",
                "[anonymous code: 0x3007]",
                "[not a known module: 0x9999]",
                "inlined",
                "_start"
            ]
        );
    }

    #[test]
    fn a_stack_that_is_cut_says_so() {
        assert_eq!(
            names(StackEnd::Cut, &[0x1010]),
            ["malloc", "[cut: too many frames]"]
        );
        assert_eq!(names(StackEnd::Empty, &[]), ["[no stack]"]);
        let whole = names(StackEnd::FramePointers, &[0x1010, 0x1021]);
        assert_eq!(whole, ["malloc", "inlined", "_start"]);
        let cut = names(StackEnd::FramePointers, &[0x1021, 0x1011]);
        assert_eq!(cut, ["a.so+0x21", "malloc", "[cut: frame pointers end]"]);
    }

    #[test]
    fn coroutines_and_threads_of_go_end_where_they_began() {
        for bottom in ["__start_context", "runtime.goexit", "runtime.goexit.abi0"] {
            let modules = [module(0x1000, "/lib/a.so")];
            let symbols = [symbol(0x10, &["asker"]), symbol(0x20, &[bottom])];
            for end in [
                StackEnd::FramePointers,
                StackEnd::NoTable,
                StackEnd::Complete,
            ] {
                for frames in [&[0x1010, 0x1021][..], &[0x1010, 0x1021, 0x9999, 0x7]] {
                    let table = SymbolTable::new(&[stack(end, frames)], &modules, symbols.clone());
                    let frames = table.frames(StackId(9));
                    let names: Vec<_> = frames.iter().map(ToString::to_string).collect();
                    assert_eq!(names, ["asker", bottom]);
                }
            }
        }
        // Where a walk went astray it ends before that.
        let astray = names(StackEnd::NoTable, &[0x1010, 0x9999]);
        assert_eq!(astray, names(StackEnd::NoTable, &[0x1010]));
        // Elsewhere what is not known is a frame all the same.
        let names = names(StackEnd::Complete, &[0x1010, 0x9999]);
        assert_eq!(names, ["malloc", "[not a known module: 0x9999]"]);
    }

    #[test]
    fn an_absent_stack_is_a_frame_with_a_reason() {
        let table = SymbolTable::default();
        assert_eq!(table.frames(StackId(0)), [&Reason::NoStack.frame()]);
        assert_eq!(table.frames(StackId::KERNEL), [&Reason::Kernel.frame()]);
        assert_eq!(table.frames(StackId(9)), [&Reason::StackLost.frame()]);
        assert_eq!(table.location(StackId(9)), &Reason::StackLost.frame());
    }
}
