//! Where frames point: the places that are looked up, stored and found again.

use super::modules::AddressSpaces;
use crate::events::{Captured, Module};
use crate::files::{BuildId, vdso};
use crate::recording::CodeAddress;
use crate::units::{Address, Pid};
use rustc_hash::FxHashMap;

/// A [`CodeAddress`] by the number of its file. Besides JIT-made code, a second file
/// that nothing but its inode tells from another one is a matter of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Spot {
    /// Number of a file in [`Places::files`], and the offset in it.
    File(usize, u64),
    /// An address of a process.
    Process(Pid, Address),
}

/// What the modules say of places: the same whether they come from a running
/// target or from a recording.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    spaces: AddressSpaces<'a>,
    files: Vec<&'a Module>,
    numbers: FxHashMap<(&'a str, Option<&'a BuildId>), usize>,
    /// The file of each module; none where its code is a matter of its process.
    of_module: Vec<Option<usize>>,
}

impl<'a> Places<'a> {
    /// Numbers the files, in the order of the modules.
    pub(crate) fn new(modules: &'a [Module]) -> Self {
        let mut places = Self {
            spaces: AddressSpaces::new(modules),
            files: Vec::new(),
            numbers: FxHashMap::default(),
            of_module: Vec::new(),
        };
        for module in modules.iter().filter(|module| is_file(&module.path)) {
            let next = places.files.len();
            let key = (module.path.as_str(), module.build_id());
            if *places.numbers.entry(key).or_insert(next) == next {
                places.files.push(module);
            }
        }
        places.of_module = modules.iter().map(|module| places.file(module)).collect();
        places
    }

    /// The files; a module stands for each.
    pub(crate) fn files(&self) -> &[&'a Module] {
        &self.files
    }

    /// The place of a stack's frame, and the module it is in; nothing where no
    /// module was there.
    ///
    /// All but the first frame are return addresses: the call stands before
    /// them, and may be the last instruction of its function.
    pub(crate) fn spot(&self, stack: &Captured, index: usize) -> Option<(Spot, &'a Module)> {
        let Address(address) = *stack.frames.get(index)?;
        let address = Address(address.saturating_sub(u64::from(index > 0)));
        let (number, module) = self.spaces.locate(stack.pid, stack.time, address)?;
        let spot = match self.of_module.get(number).copied().flatten() {
            None => Spot::Process(stack.pid, address),
            Some(file) => {
                let offset = address.0 - module.address.0;
                Spot::File(file, offset.wrapping_add(module.offset))
            }
        };
        Some((spot, module))
    }

    /// The number of a module's file. Of files that have no build-id and differ in their inode
    /// alone, the first has it.
    fn file(&self, module: &Module) -> Option<usize> {
        let key = (module.path.as_str(), module.build_id());
        let number = *self.numbers.get(&key)?;
        let same = module.build_id().is_some() || module.file() == self.files[number].file();
        same.then_some(number)
    }

    /// A place as it is stored.
    pub(crate) fn place(&self, spot: Spot) -> CodeAddress {
        match spot {
            Spot::Process(pid, address) => CodeAddress::Process { pid, address },
            Spot::File(number, offset) => CodeAddress::File {
                path: self.files[number].path.clone(),
                build_id: self.files[number].build_id().cloned(),
                offset,
            },
        }
    }

    /// A stored place; nothing where no module is of its file.
    pub(crate) fn find(&self, place: &CodeAddress) -> Option<Spot> {
        match place {
            CodeAddress::Process { pid, address } => Some(Spot::Process(*pid, *address)),
            CodeAddress::File {
                path,
                build_id,
                offset,
            } => {
                let number = self.numbers.get(&(path.as_str(), build_id.as_ref()))?;
                Some(Spot::File(*number, *offset))
            }
        }
    }
}

/// Whether a module's path is that of a file or of the vDSO, which is the same
/// in every process.
pub(crate) fn is_file(path: &str) -> bool {
    path == vdso::NAME || path.starts_with('/') && !path.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::StackEnd;
    use crate::files::{FileId, Identity};
    use crate::units::{Bytes, Nanos, StackId};

    fn module(pid: u32, path: &str, build_id: &str, inode: u64) -> Module {
        Module {
            pid: Pid(pid),
            time: Nanos(0),
            address: Address(0x1000),
            length: Bytes(0x1000),
            offset: 0x200,
            path: path.to_owned(),
            identity: Identity {
                file: Some(FileId { device: 1, inode }),
                build_id: BuildId::parse(build_id),
            },
        }
    }

    fn spot(places: &Places<'_>, pid: u32, frames: &[u64], index: usize) -> Option<Spot> {
        let stack = Captured {
            id: StackId(1),
            pid: Pid(pid),
            time: Nanos(0),
            end: StackEnd::Complete,
            frames: frames.iter().map(|&address| Address(address)).collect(),
        };
        places.spot(&stack, index).map(|(spot, _)| spot)
    }

    #[test]
    fn a_file_is_the_same_in_every_process() {
        let modules = [module(1, "/a", "abcd", 1), module(2, "/a", "abcd", 2)];
        let places = Places::new(&modules);
        assert_eq!(spot(&places, 1, &[0x1010], 0), Some(Spot::File(0, 0x210)));
        assert_eq!(spot(&places, 2, &[0x1010], 0), Some(Spot::File(0, 0x210)));
        assert_eq!(spot(&places, 3, &[0x1010], 0), None);
    }

    #[test]
    fn files_that_only_an_inode_tells_apart_stay_apart() {
        let modules = [module(1, "/a", "", 1), module(2, "/a", "", 2)];
        let places = Places::new(&modules);
        assert_eq!(spot(&places, 1, &[0x1010], 0), Some(Spot::File(0, 0x210)));
        let second = Spot::Process(Pid(2), Address(0x1010));
        assert_eq!(spot(&places, 2, &[0x1010], 0), Some(second));
    }

    #[test]
    fn a_return_address_means_the_call_before_it() {
        let modules = [module(1, "/a", "", 1)];
        let places = Places::new(&modules);
        let frames = [0x1000, 0x1000, 0x1001, 0x2000];
        assert_eq!(spot(&places, 1, &frames, 0), Some(Spot::File(0, 0x200)));
        assert_eq!(spot(&places, 1, &frames, 1), None);
        assert_eq!(spot(&places, 1, &frames, 2), Some(Spot::File(0, 0x200)));
        assert_eq!(spot(&places, 1, &frames, 3), Some(Spot::File(0, 0x11ff)));
    }

    #[test]
    fn places_are_found_again() {
        let modules = [module(1, "/a", "abcd", 1), module(1, "/b", "", 2)];
        let places = Places::new(&modules);
        for spot in [Spot::File(1, 7), Spot::Process(Pid(3), Address(9))] {
            assert_eq!(places.find(&places.place(spot)), Some(spot));
        }
        let absent = CodeAddress::File {
            path: "/a".to_owned(),
            build_id: BuildId::parse("0ddba11f"),
            offset: 7,
        };
        assert_eq!(places.find(&absent), None);
    }
}
