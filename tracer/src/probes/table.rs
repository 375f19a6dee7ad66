//! The one table of uprobes: which function, at its entry or return, runs
//! which BPF program.

use tracer_ebpf::Function;

/// A BPF program that runs at uprobes; its name in the object is [`Program::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// Entry of a function that returns a block, new or resized.
    AllocEnter,
    /// Its return.
    AllocExit,
    /// Entry of `free`.
    FreeEnter,
}

/// Where in a function a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    /// With the arguments still in their registers.
    Entry,
    /// When it has returned to its caller.
    Return,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The function's symbol.
    pub symbol: &'static str,
    /// What the program sees as its attach cookie.
    pub function: Function,
    /// Entry or return.
    pub at: At,
    /// What runs there.
    pub program: Program,
    /// How many integer arguments it has: rdi, rsi, rdx, in this order.
    pub arguments: u8,
    /// Whether a file that defines the symbol must be probed there: if it can't
    /// be, heap figures would be wrong rather than incomplete.
    pub required: bool,
}

impl Program {
    /// Every program, in the order in which they are to be attached: returns
    /// before entries, so that no call is seen to begin and never to end.
    pub const ALL: [Self; 3] = [Self::AllocExit, Self::AllocEnter, Self::FreeEnter];

    /// Its name in the BPF object.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllocEnter => "alloc_enter",
            Self::AllocExit => "alloc_exit",
            Self::FreeEnter => "free_enter",
        }
    }

    /// Where it runs.
    #[must_use]
    pub const fn at(self) -> At {
        match self {
            Self::AllocExit => At::Return,
            Self::AllocEnter | Self::FreeEnter => At::Entry,
        }
    }
}

const fn row(
    symbol: &'static str,
    function: Function,
    program: Program,
    arguments: u8,
    required: bool,
) -> Probed {
    Probed {
        symbol,
        function,
        at: program.at(),
        program,
        arguments,
        required,
    }
}

/// Every uprobe. A function's entry stands before its return.
pub const TABLE: [Probed; 19] = {
    use Function as F;
    use Program::{AllocEnter, AllocExit, FreeEnter};
    [
        row("malloc", F::Malloc, AllocEnter, 1, true),
        row("malloc", F::Malloc, AllocExit, 1, true),
        row("calloc", F::Calloc, AllocEnter, 2, true),
        row("calloc", F::Calloc, AllocExit, 2, true),
        row("realloc", F::Realloc, AllocEnter, 2, true),
        row("realloc", F::Realloc, AllocExit, 2, true),
        row("free", F::Free, FreeEnter, 1, true),
        row("posix_memalign", F::PosixMemalign, AllocEnter, 3, false),
        row("posix_memalign", F::PosixMemalign, AllocExit, 3, false),
        row("aligned_alloc", F::AlignedAlloc, AllocEnter, 2, false),
        row("aligned_alloc", F::AlignedAlloc, AllocExit, 2, false),
        row("memalign", F::Memalign, AllocEnter, 2, false),
        row("memalign", F::Memalign, AllocExit, 2, false),
        row("valloc", F::Valloc, AllocEnter, 1, false),
        row("valloc", F::Valloc, AllocExit, 1, false),
        row("pvalloc", F::Pvalloc, AllocEnter, 1, false),
        row("pvalloc", F::Pvalloc, AllocExit, 1, false),
        row("reallocarray", F::ReallocArray, AllocEnter, 3, false),
        row("reallocarray", F::ReallocArray, AllocExit, 3, false),
    ]
};

/// The functions, one row each (that of the entry).
pub fn functions() -> impl Iterator<Item = &'static Probed> {
    TABLE.iter().filter(|row| row.at == At::Entry)
}

/// The rows of a function: its entry and, where it has one, its return.
pub fn rows(function: Function) -> impl Iterator<Item = &'static Probed> {
    TABLE.iter().filter(move |row| row.function == function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_one_entry_and_all_but_free_a_return() {
        for number in 1..=10 {
            let rows: Vec<_> = TABLE
                .iter()
                .filter(|row| row.function as u32 == number)
                .collect();
            let returns = usize::from(rows[0].function != Function::Free);
            assert_eq!(rows.len(), 1 + returns, "{}", rows[0].symbol);
            assert_eq!(rows[0].at, At::Entry);
            assert!(rows.iter().all(|row| row.symbol == rows[0].symbol));
            assert!(rows.iter().skip(1).all(|row| row.at == At::Return));
        }
        assert_eq!(functions().count(), 10);
    }
}
