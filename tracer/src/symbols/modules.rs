//! Which file an address belonged to, in which process and when.

use crate::events::Module;
use crate::units::{Address, Nanos, Pid};
use rustc_hash::FxHashMap;

/// The executable mappings of every process, as they came.
#[derive(Debug)]
pub struct AddressSpaces<'a> {
    spaces: FxHashMap<Pid, Vec<Mapping<'a>>>,
}

/// A mapping; those of a process are sorted by where they begin.
#[derive(Clone, Copy, Debug)]
struct Mapping<'a> {
    begin: u64,
    end: u64,
    /// The highest `end` of this mapping and those before it.
    reach: u64,
    /// Its place among all: of two at the same time, the later one counts.
    number: usize,
    module: &'a Module,
}

impl<'a> AddressSpaces<'a> {
    /// Sorts the modules, in the order in which they came, by process and address.
    #[must_use]
    pub fn new(modules: impl IntoIterator<Item = &'a Module>) -> Self {
        let mut spaces: FxHashMap<Pid, Vec<Mapping>> = FxHashMap::default();
        for (number, module) in modules.into_iter().enumerate() {
            let begin = module.address.0;
            let end = begin.saturating_add(module.length.0);
            spaces.entry(module.pid).or_default().push(Mapping {
                begin,
                end,
                reach: end,
                number,
                module,
            });
        }
        for mappings in spaces.values_mut() {
            mappings.sort_by_key(|m| (m.begin, m.module.time, m.number));
            let mut reach = 0;
            for mapping in mappings {
                reach = reach.max(mapping.end);
                mapping.reach = reach;
            }
        }
        Self { spaces }
    }

    /// The module that held an address at a time: of all that were
    /// ever mapped there the last one mapped until then, and failing that the
    /// first one mapped after (it was noticed late).
    #[must_use]
    pub fn find(&self, pid: Pid, time: Nanos, address: Address) -> Option<&'a Module> {
        Some(self.locate(pid, time, address)?.1)
    }

    /// Likewise, with the module's place among all.
    pub(crate) fn locate(
        &self,
        pid: Pid,
        time: Nanos,
        address: Address,
    ) -> Option<(usize, &'a Module)> {
        let mappings = self.spaces.get(&pid)?;
        let after = mappings.partition_point(|m| m.begin <= address.0);
        let reaching = mappings[..after].iter().rev();
        let here = reaching
            .take_while(|m| m.reach > address.0)
            .filter(|m| m.end > address.0);
        let rank = |m: &&Mapping| match m.module.time <= time {
            true => (1, m.module.time.0, m.number),
            false => (0, u64::MAX - m.module.time.0, m.number),
        };
        here.max_by_key(rank).map(|m| (m.number, m.module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Identity;
    use crate::units::Bytes;

    fn module(pid: u32, time: u64, address: u64, length: u64) -> Module {
        Module {
            pid: Pid(pid),
            time: Nanos(time),
            address: Address(address),
            length: Bytes(length),
            offset: 0,
            path: String::new(),
            identity: Identity::default(),
        }
    }

    #[test]
    fn the_last_one_mapped_until_then_holds_the_address() {
        let modules = [
            module(1, 10, 0x1000, 0x9000),
            module(1, 20, 0x2000, 0x1000),
            module(1, 30, 0x2000, 0x1000),
            module(2, 10, 0x2000, 0x1000),
        ];
        let spaces = AddressSpaces::new(&modules);
        let find = |pid, time, address| {
            let found = spaces.find(Pid(pid), Nanos(time), Address(address))?;
            modules.iter().position(|module| module == found)
        };
        assert_eq!(find(1, 15, 0x2500), Some(0));
        assert_eq!(find(1, 20, 0x2500), Some(1));
        assert_eq!(find(1, 99, 0x2500), Some(2));
        assert_eq!(find(1, 99, 0x3000), Some(0));
        assert_eq!(find(2, 99, 0x2500), Some(3));
        assert_eq!(find(2, 5, 0x2500), Some(3), "noticed late");
        assert_eq!(find(1, 5, 0x2500), Some(0), "the first of the late ones");
        assert_eq!(find(1, 99, 0xa000), None);
        assert_eq!(find(1, 99, 0xfff), None);
        assert_eq!(find(3, 99, 0x2500), None);
    }

    #[test]
    fn a_length_past_the_end_of_memory_does_not_wrap() {
        let modules = [module(1, 0, u64::MAX - 5, 100)];
        let spaces = AddressSpaces::new(&modules);
        assert_eq!(
            spaces.find(Pid(1), Nanos(0), Address(u64::MAX - 1)),
            Some(&modules[0])
        );
        assert_eq!(spaces.find(Pid(1), Nanos(0), Address(3)), None);
    }
}
