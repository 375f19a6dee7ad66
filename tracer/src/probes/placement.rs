//! Which instruction of a function to put a uprobe on.
//!
//! The kernel replaces the probed instruction by a breakpoint and then has to
//! run the original. A few kinds it emulates (0.6 µs a hit); all others it
//! copies to a page of their own and single-steps (12 µs). So we take the first
//! emulated instruction that every call passes exactly once with its arguments,
//! stack pointer and frame pointer as they were at the entry:
//!
//! - only instructions that fall through may stand before it, and none of them
//!   may write a register that a program reads there;
//! - no branch may lead into what lies behind the entry, up to and including
//!   it, or a call would be counted twice.
//!
//! Where there is no such instruction, the entry itself is as right, and slow.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory};
use iced_x86::{OpAccess, Register};

/// Instructions looked at before giving up: prologues are shorter.
const MAX_INSTRUCTIONS: usize = 16;

/// How far a two-byte branch reaches, and the longest instruction.
const SHORT_REACH: u64 = 128 + 15;

/// An executable segment, or as much of it as was read.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Its code.
    pub bytes: &'a [u8],
    /// Address of the first byte (as linked, or any other consistent one).
    pub address: u64,
}

/// A function to be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its first instruction, in the addresses of [`Text`].
    pub address: u64,
    /// How many of rdi, rsi and rdx it takes.
    pub arguments: u8,
}

/// Where to put the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Address of the instruction; the entry, or one behind it.
    pub address: u64,
    /// Whether every kernel emulates it; else it is single-stepped.
    pub emulated: bool,
}

/// Places a probe for each entry, in their order.
///
/// Entries outside the text are placed at themselves.
#[must_use]
pub fn place(text: Text<'_>, entries: &[Entry]) -> Vec<Placement> {
    let wanted: Vec<Placement> = entries
        .iter()
        .map(|entry| candidate(text, entry, entries))
        .collect();
    let branched = branch_targets(text, entries, &wanted);
    entries
        .iter()
        .zip(wanted)
        .zip(branched)
        .map(|((entry, placement), branched)| match branched {
            false => placement,
            true => Placement {
                address: entry.address,
                emulated: false,
            },
        })
        .collect()
}

/// The first emulated instruction on the straight line from the entry.
fn candidate(text: Text<'_>, entry: &Entry, entries: &[Entry]) -> Placement {
    let fallback = Placement {
        address: entry.address,
        emulated: false,
    };
    let mut factory = InstructionInfoFactory::new();
    for (instruction, bytes) in text.decode(entry.address).take(MAX_INSTRUCTIONS) {
        let address = instruction.ip();
        let other = |other: &Entry| other.address == address && address != entry.address;
        if instruction.is_invalid() || entries.iter().any(other) {
            return fallback;
        }
        if is_emulated(bytes) {
            return Placement {
                address,
                emulated: true,
            };
        }
        if instruction.flow_control() != FlowControl::Next
            || changes_state(&mut factory, &instruction, entry.arguments)
        {
            return fallback;
        }
    }
    fallback
}

/// Whether the kernel emulates an instruction: the list of `branch_setup_xol_ops`
/// and `push_setup_xol_ops` in its arch/x86/kernel/uprobes.c, as far as all
/// kernels that can trace (5.17 on) share it: `jmp rel`, `call rel`, `jcc rel`,
/// `nop` (0x90), `push` of a 64-bit register. What only newer ones emulate (long
/// nops) or some refuse (prefixes) is left out.
fn is_emulated(bytes: &[u8]) -> bool {
    match *bytes {
        [0x50..=0x57] | [0x41, 0x50..=0x57] | [0x90] => true,
        // An F2 prefix here is BND, which the kernel accepts.
        [0xf2, ref branch @ ..] | ref branch => matches!(
            *branch,
            [0xeb | 0x70..=0x7f, _] | [0xe8 | 0xe9, _, _, _, _] | [0x0f, 0x80..=0x8f, _, _, _, _]
        ),
    }
}

/// Whether an instruction writes what a program reads at the probe: the
/// arguments, the stack pointer (the return address lies there) or the frame
/// pointer (where unwinding may begin).
fn changes_state(
    factory: &mut InstructionInfoFactory,
    instruction: &Instruction,
    arguments: u8,
) -> bool {
    const KEPT: [Register; 5] = [
        Register::RSP,
        Register::RBP,
        Register::RDI,
        Register::RSI,
        Register::RDX,
    ];
    let kept = &KEPT[..KEPT.len().min(2 + usize::from(arguments))];
    let written = |access| {
        matches!(
            access,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        )
    };
    factory
        .info(instruction)
        .used_registers()
        .iter()
        .any(|used| written(used.access()) && kept.contains(&used.register().full_register()))
}

impl<'a> Text<'a> {
    fn from(self, address: u64) -> &'a [u8] {
        address
            .checked_sub(self.address)
            .and_then(|skip| self.bytes.get(usize::try_from(skip).ok()?..))
            .unwrap_or_default()
    }

    /// The instructions from an address on, each with its bytes.
    fn decode(self, address: u64) -> impl Iterator<Item = (Instruction, &'a [u8])> {
        let bytes = self.from(address);
        let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
        std::iter::from_fn(move || {
            let start = decoder.position();
            decoder
                .can_decode()
                .then(|| decoder.decode())
                .map(|instruction| (instruction, &bytes[start..decoder.position()]))
        })
    }
}

/// For each entry: whether anything branches behind it, up to its placement.
///
/// Short branches can only come from nearby, so the code around is decoded.
/// Near ones may come from anywhere (a compiler's `.cold` part): all bytes that
/// could be one are taken for one, whether or not an instruction begins there.
/// An accident costs speed, and its odds are some 10⁻⁶ per MiB and byte.
/// Indirect jumps are not seen: compilers' tables follow a bounds check, which
/// is a conditional branch and so lies behind every placement.
fn branch_targets(text: Text<'_>, entries: &[Entry], placed: &[Placement]) -> Vec<bool> {
    let mut found: Vec<bool> = entries
        .iter()
        .zip(placed)
        .map(|(entry, placed)| short_branch(text, entry.address, placed.address))
        .collect();
    let moved = || entries.iter().zip(placed).enumerate();
    let inside = |(_, (entry, placed)): &(usize, (&Entry, &Placement)), target| {
        entry.address < target && target <= placed.address
    };
    let low = moved().map(|(_, (entry, _))| entry.address).min();
    let high = moved().map(|(_, (_, placed))| placed.address).max();
    let (Some(low), Some(high)) = (low, high) else {
        return found;
    };
    for target in near_targets(text).filter(|target| (low..=high).contains(target)) {
        for hit in moved().filter(|pair| inside(pair, target)) {
            found[hit.0] = true;
        }
    }
    found
}

fn short_branch(text: Text<'_>, entry: u64, placed: u64) -> bool {
    let end = placed.saturating_add(SHORT_REACH);
    entry != placed
        && text
            .decode(entry)
            .take_while(|(instruction, _)| instruction.ip() <= end)
            .any(|(instruction, _)| {
                let target = instruction.near_branch_target();
                entry < target && target <= placed
            })
}

/// Targets of all bytes that look like `call`, `jmp` or `jcc` with 32-bit offsets.
fn near_targets(text: Text<'_>) -> impl Iterator<Item = u64> {
    text.bytes
        .windows(5)
        .enumerate()
        .filter_map(move |(at, window)| {
            let [opcode, offset @ ..] = window else {
                return None;
            };
            let conditional = || at > 0 && text.bytes[at - 1] == 0x0f;
            let branch = match opcode {
                0xe8 | 0xe9 => true,
                0x80..=0x8f => conditional(),
                _ => false,
            };
            let offset = i32::from_le_bytes(offset.try_into().ok()?);
            branch.then(|| {
                text.address
                    .wrapping_add(at as u64 + 5)
                    .wrapping_add_signed(offset.into())
            })
        })
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
