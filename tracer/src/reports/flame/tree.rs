//! Stacks merged from their outermost frame inwards.

use crate::symbols::{Frame, SymbolTable};
use crate::units::{Bytes, StackId};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// One frame of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Full name of the function, or category.
    pub name: String,
    place: Option<String>,
    /// File name of the module.
    pub module: Option<String>,
}

impl Step {
    /// A name that is no function's, in brackets.
    pub(super) fn category(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            place: None,
            module: None,
        }
    }

    /// Likewise, with a note on what it means.
    pub(super) fn explained(name: &str, note: &str) -> Self {
        Self {
            place: Some(note.to_owned()),
            ..Self::category(name)
        }
    }

    /// A frame of a stack.
    pub(super) fn of_frame(frame: &Frame) -> Self {
        let place = match (&frame.file, frame.line) {
            (Some(file), Some(line)) => Some(format!("{file}:{line}")),
            (file, _) => file.clone(),
        };
        Self {
            name: frame.name(),
            place,
            module: frame.module.clone(),
        }
    }
}

/// A frame in its place in the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The step that made it.
    first: u32,
    /// The step that was last added to it.
    last: u32,
    /// Where in the source it is, if that is another than where its step is: where it is several
    /// places in one file, that file; nothing where it is in several files.
    elsewhere: Option<Option<String>>,
    /// Bytes of it and everything below.
    pub bytes: Bytes,
    /// Those of them that became resident.
    pub resident: Bytes,
    children: Vec<u32>,
}

/// Steps by numbers: a frame becomes one once, however many stacks it is in.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    symbols: &'a SymbolTable,
    /// The step of each frame, by the frame's number.
    of_frame: Vec<Option<u32>>,
    steps: Vec<Step>,
    /// The number of each step's name: steps of one name are one box of the picture.
    names: Vec<u32>,
    by_name: FxHashMap<String, u32>,
}

impl<'a> Steps<'a> {
    /// None yet.
    fn new(symbols: &'a SymbolTable) -> Self {
        Self {
            symbols,
            of_frame: vec![None; symbols.distinct_frames()],
            steps: Vec::new(),
            names: Vec::new(),
            by_name: FxHashMap::default(),
        }
    }

    /// Goes on with frames of another run.
    pub(super) fn turn_to(&mut self, symbols: &'a SymbolTable) {
        self.symbols = symbols;
        self.of_frame = vec![None; symbols.distinct_frames()];
    }

    /// The number of a step that is no frame.
    pub(super) fn add(&mut self, step: Step) -> u32 {
        let next = self.by_name.len() as u32;
        let name = *self.by_name.entry(step.name.clone()).or_insert(next);
        self.names.push(name);
        self.steps.push(step);
        self.steps.len() as u32 - 1
    }

    /// Adds the frames of a stack to a path, the outermost first.
    pub(super) fn extend(&mut self, path: &mut Vec<u32>, id: StackId) {
        let symbols = self.symbols;
        let numbers = symbols.numbers(id);
        for &number in numbers.iter().rev() {
            let step = match self.of_frame[number as usize] {
                Some(step) => step,
                None => {
                    let step = self.add(Step::of_frame(symbols.frame(number)));
                    self.of_frame[number as usize] = Some(step);
                    step
                }
            };
            path.push(step);
        }
        if numbers.is_empty() {
            // A stack that is not here is a frame that says why.
            for frame in symbols.frames(id).into_iter().rev() {
                path.push(self.add(Step::of_frame(frame)));
            }
        }
    }
}

/// All stacks of a picture. Node 0 stands for all of them.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    /// What the paths are made of.
    pub(super) steps: Steps<'a>,
    nodes: Vec<Node>,
    /// By parent and number of the name.
    index: FxHashMap<(u32, u32), u32>,
}

impl Node {
    fn new(step: u32) -> Self {
        Self {
            first: step,
            last: step,
            elsewhere: None,
            bytes: Bytes::ZERO,
            resident: Bytes::ZERO,
            children: Vec::new(),
        }
    }

    fn add(&mut self, bytes: Bytes, resident: Bytes) {
        self.bytes += bytes;
        self.resident += resident;
    }
}

/// Where a function is that is called in both places, or two functions of a name are: in one
/// file at most.
fn widened(own: Option<&str>, place: Option<&str>) -> Option<String> {
    let file = |place: &str| {
        let file = place.rsplit_once(':').map_or(place, |(file, _)| file);
        file.to_owned()
    };
    own.map(file)
        .filter(|own| Some(own) == place.map(file).as_ref())
}

impl<'a> Tree<'a> {
    /// An empty one, of frames of `symbols`.
    pub(super) fn new(symbols: &'a SymbolTable) -> Self {
        let mut steps = Steps::new(symbols);
        let all = Node::new(steps.add(Step::category("all")));
        Self {
            steps,
            nodes: vec![all],
            index: FxHashMap::default(),
        }
    }

    /// Adds a stack by the numbers of its steps, the outermost first.
    pub(super) fn add(&mut self, path: &[u32], bytes: Bytes, resident: Bytes) {
        if bytes == Bytes::ZERO {
            return;
        }
        self.nodes[0].add(bytes, resident);
        let mut parent = 0;
        for &step in path {
            let next = self.nodes.len() as u32;
            let key = (parent, self.steps.names[step as usize]);
            let number = *self.index.entry(key).or_insert(next);
            if number == next {
                self.nodes.push(Node::new(step));
                self.nodes[parent as usize].children.push(number);
            }
            if self.nodes[number as usize].last != step {
                self.widen(number, step);
            }
            self.nodes[number as usize].add(bytes, resident);
            parent = number;
        }
    }

    /// Another step of its name is added to a node.
    fn widen(&mut self, number: u32, step: u32) {
        let own = self.place(&self.nodes[number as usize]);
        let place = self.steps.steps[step as usize].place.as_deref();
        let elsewhere = (own != place).then(|| widened(own, place));
        let node = &mut self.nodes[number as usize];
        node.last = step;
        node.elsewhere = elsewhere.or(node.elsewhere.take());
    }

    /// What a node is called, and its module.
    pub(super) fn step(&self, node: &Node) -> &Step {
        &self.steps.steps[node.first as usize]
    }

    /// Where in the source a node is, if it is one place; where it is several in one file, that
    /// file.
    pub(super) fn place<'s>(&'s self, node: &'s Node) -> Option<&'s str> {
        match &node.elsewhere {
            Some(elsewhere) => elsewhere.as_deref(),
            None => self.step(node).place.as_deref(),
        }
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Bytes of all stacks.
    pub(super) fn total(&self) -> Bytes {
        self.nodes[0].bytes
    }

    /// The tree as folded stacks of node numbers (`3;7;9 4096`), in the order in
    /// which they stand in the picture: the largest first. Nodes of fewer than
    /// `least` bytes are left out; their bytes stay with their parents.
    pub(super) fn folded(&self, least: Bytes) -> Vec<String> {
        let mut lines = Vec::new();
        // What is left to do: a node, and its path.
        let mut open = vec![(0, String::new())];
        let at = |number: u32| &self.nodes[number as usize];
        while let Some((number, path)) = open.pop() {
            let node = at(number);
            let mut shown: Vec<u32> = node.children.clone();
            shown.retain(|&child| at(child).bytes >= least);
            let below: Bytes = shown.iter().map(|&child| at(child).bytes).sum();
            let own = node.bytes.saturating_sub(below);
            if own > Bytes::ZERO {
                // Bytes of no stack at all can't be: every stack has a frame.
                let path = if path.is_empty() { "0" } else { &path };
                lines.push(format!("{path} {}", own.0));
            }
            shown.sort_by(|&a, &b| {
                let key = |n: u32| (Reverse(at(n).bytes), &self.step(at(n)).name);
                key(b).cmp(&key(a))
            });
            for child in shown {
                let path = match path.as_str() {
                    "" => child.to_string(),
                    path => format!("{path};{child}"),
                };
                open.push((child, path));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(tree: &mut Tree<'_>, names: &str) -> Vec<u32> {
        let steps = names.split(' ').map(Step::category);
        steps.map(|step| tree.steps.add(step)).collect()
    }

    #[test]
    fn stacks_are_merged_and_the_largest_comes_first() {
        let symbols = SymbolTable::default();
        let mut tree = Tree::new(&symbols);
        for (names, bytes) in [("a b", 10), ("a c", 30), ("a", 5), ("z", 40), ("a b d", 2)] {
            let path = path(&mut tree, names);
            tree.add(&path, Bytes(bytes), Bytes(1));
        }
        assert_eq!(tree.total(), Bytes(87));
        let names = tree.nodes().iter().map(|n| tree.step(n).name.as_str());
        let names: Vec<_> = names.collect();
        assert_eq!(names, ["all", "a", "b", "c", "z", "d"]);
        assert_eq!(
            tree.folded(Bytes(1)),
            ["1 5", "1;3 30", "1;2 10", "1;2;5 2", "4 40"]
        );
        assert_eq!(tree.folded(Bytes(12)), ["1 5", "1;3 30", "1;2 12", "4 40"]);
        assert_eq!(tree.folded(Bytes(20)), ["1 17", "1;3 30", "4 40"]);
    }

    #[test]
    fn nothing_is_no_line() {
        assert!(
            Tree::new(&SymbolTable::default())
                .folded(Bytes(1))
                .is_empty()
        );
    }

    #[test]
    fn a_function_called_in_several_lines_keeps_its_file() {
        let step = |place: &str| Step {
            place: Some(place.to_owned()),
            ..Step::category("f")
        };
        let symbols = SymbolTable::default();
        let mut tree = Tree::new(&symbols);
        let mut place_after = |place: &str| {
            let step = tree.steps.add(step(place));
            tree.add(&[step], Bytes(1), Bytes::ZERO);
            tree.place(&tree.nodes()[1]).map(str::to_owned)
        };
        assert_eq!(place_after("/a.rs:1").as_deref(), Some("/a.rs:1"));
        assert_eq!(place_after("/a.rs:1").as_deref(), Some("/a.rs:1"));
        assert_eq!(place_after("/a.rs:2").as_deref(), Some("/a.rs"));
        assert_eq!(place_after("/b.rs:2"), None);
    }
}
