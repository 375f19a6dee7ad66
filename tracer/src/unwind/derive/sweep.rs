//! Decodes the code that no FDE covers, from one end to the other.

use super::Gap;
use super::state::Op;
use crate::units::{Bytes, FileOffset, Linked};
use crate::unwind::info::UnwindInfo;
use iced_x86::{Code as Opcode, Decoder, DecoderOptions, FlowControl, InstructionInfoFactory};
use iced_x86::{Instruction as Decoded, Mnemonic, OpKind, Register};
use std::borrow::Cow;

/// Bytes of code of a file whose symbols are read. One with more takes too long
/// for the little it may lack; it has the returns to tell by.
const MAX_CODE: u64 = 16 << 20;

/// Bytes of code of a file that is searched for calls of functions without FDE,
/// which takes some 7 ms for each MiB: a library that is loaded at run time runs
/// meanwhile, and each of its stacks is copied.
pub(super) const MAX_SEARCHED: u64 = 2 << 20;

/// Where control goes from an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    /// To the next one.
    On,
    /// To the next one, after a call.
    Call(u32),
    /// The same, of what is not known.
    CallAway,
    /// There or to the next one.
    Branch(u32),
    /// There.
    Jump(u32),
    /// Nobody knows where to.
    Away,
    /// To the caller.
    Return,
    /// Nowhere.
    Nowhere,
}

impl Goes {
    /// Whether the next instruction may follow.
    pub(super) fn falls_through(self) -> bool {
        matches!(
            self,
            Self::On | Self::Call(_) | Self::CallAway | Self::Branch(_)
        )
    }
}

/// What matters of an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction {
    /// Its file offset.
    pub(super) at: u32,
    pub(super) length: u8,
    /// Nothing: what lies between functions.
    pub(super) padding: bool,
    pub(super) op: Op,
    pub(super) goes: Goes,
}

/// Instructions and those that refer to them.
pub(super) type Pairs = Vec<(usize, usize)>;

/// What was decoded.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) gaps: Vec<Gap>,
    /// In order.
    pub(super) instructions: Vec<Instruction>,
    /// Where the process begins.
    pub(super) start: Option<u32>,
    /// Where functions begin: called, or a symbol says so. Sorted.
    pub(super) entries: Vec<u32>,
    /// Of what code takes the address: maybe a function. Sorted.
    pub(super) taken: Vec<u32>,
    /// Where signal handlers return to.
    pub(super) trampolines: Vec<Gap>,
}

impl Code {
    /// The index of the instruction at an offset.
    pub(super) fn find(&self, at: u32) -> Option<usize> {
        self.instructions.binary_search_by_key(&at, |i| i.at).ok()
    }

    /// The index of the instruction that follows without a jump.
    pub(super) fn after(&self, index: usize) -> Option<usize> {
        let this = self.instructions.get(index)?;
        let next = self.instructions.get(index + 1)?;
        (this.goes.falls_through() && next.at == this.at + u32::from(this.length))
            .then_some(index + 1)
    }

    /// Pairs of indices: jumped to and from where, called and from where. Sorted.
    pub(super) fn references(&self) -> (Pairs, Pairs) {
        let (mut jumps, mut calls) = (Vec::new(), Vec::new());
        for (from, instruction) in self.instructions.iter().enumerate() {
            let (list, to) = match instruction.goes {
                Goes::Jump(to) | Goes::Branch(to) => (&mut jumps, to),
                Goes::Call(to) => (&mut calls, to),
                _ => continue,
            };
            list.extend(self.find(to).map(|to| (to, from)));
        }
        jumps.sort_unstable();
        calls.sort_unstable();
        (jumps, calls)
    }

    pub(super) fn is_entry(&self, at: u32) -> bool {
        self.entries.binary_search(&at).is_ok()
    }
}

/// Decodes the gaps; `None` if the file can't be read.
pub(super) fn sweep(image: &UnwindInfo<'_>, gaps: &[Gap]) -> Option<Code> {
    let mut sweeper = Sweeper {
        image,
        gaps,
        calls: Vec::new(),
        taken: Vec::new(),
        factory: InstructionInfoFactory::new(),
    };
    sweeper.calls.push(image.entry);
    let sizes = image.segments.iter().map(|segment| segment.size.0);
    let size = sizes.fold(0, u64::saturating_add);
    if size <= MAX_CODE {
        sweeper.calls.extend(image.functions());
    }
    if size <= MAX_SEARCHED {
        sweeper.find_calls();
    }
    // Calls between them tell where functions begin, which tells where to begin
    // to decode.
    let first = sweeper.decode()?;
    let code = sweeper.decode()?;
    Some(if code.entries.len() < first.entries.len() {
        first
    } else {
        code
    })
}

struct Sweeper<'a> {
    image: &'a UnwindInfo<'a>,
    gaps: &'a [Gap],
    /// Addresses of functions.
    calls: Vec<Linked>,
    /// Addresses that are taken.
    taken: Vec<Linked>,
    factory: InstructionInfoFactory,
}

impl<'a> Sweeper<'a> {
    /// The offset in a gap of an address.
    fn offset(&self, address: Linked) -> Option<u32> {
        let offset = u32::try_from(self.image.file_offset(address)?.0).ok()?;
        let after = self.gaps.partition_point(|gap| gap.start <= offset);
        let gap = &self.gaps[after.checked_sub(1)?];
        gap.contains(&offset).then_some(offset)
    }

    fn offsets(&self, addresses: &[Linked]) -> Vec<u32> {
        let mut found: Vec<u32> = addresses.iter().filter_map(|&a| self.offset(a)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The bytes of a range of the file, and where it is loaded.
    fn read(&self, range: &Gap) -> Option<(Cow<'a, [u8]>, Linked)> {
        let from = FileOffset(range.start.into());
        let mut segments = self.image.segments.iter();
        let address = segments.find_map(|segment| segment.loaded_at(from))?;
        let bytes = self.image.bytes(from, Bytes(range.len() as u64))?;
        Some((bytes, address))
    }

    /// Finds the calls of functions in gaps.
    fn find_calls(&mut self) {
        for segment in &self.image.segments {
            let Some(bytes) = self.image.bytes(segment.offset, segment.size) else {
                continue;
            };
            let decoder = Decoder::with_ip(64, &bytes, segment.address.0, DecoderOptions::NONE);
            let (mut calls, mut taken) = (Vec::new(), Vec::new());
            for decoded in decoder {
                if decoded.is_call_near() && self.is_in_gap(&decoded) {
                    calls.push(Linked(decoded.near_branch_target()));
                }
                taken.extend(address_taken(&decoded).filter(|&a| self.offset(a).is_some()));
            }
            self.calls.append(&mut calls);
            self.taken.append(&mut taken);
        }
    }

    fn is_in_gap(&self, call: &Decoded) -> bool {
        self.offset(Linked(call.near_branch_target())).is_some()
    }

    fn decode(&mut self) -> Option<Code> {
        let mut code = Code {
            gaps: self.gaps.to_vec(),
            start: self.offset(self.image.entry),
            entries: self.offsets(&self.calls),
            ..Code::default()
        };
        for gap in self.gaps {
            let from = code.entries.partition_point(|&entry| entry <= gap.start);
            let to = code.entries.partition_point(|&entry| entry < gap.end);
            let (bytes, address) = self.read(gap)?;
            let mut start = gap.start;
            let ends = code.entries[from..to].to_vec();
            for end in ends.into_iter().chain([gap.end]) {
                let from = start - gap.start;
                let piece = bytes.get(from as usize..(end - gap.start) as usize)?;
                self.decode_piece(
                    start,
                    piece,
                    Linked(address.0.wrapping_add(from.into())),
                    &mut code,
                );
                start = end;
            }
        }
        code.entries.retain(|&entry| {
            code.instructions
                .binary_search_by_key(&entry, |i| i.at)
                .is_ok()
        });
        code.taken = self.offsets(&self.taken);
        Some(code)
    }

    /// Decodes from a place where an instruction begins up to another: bytes that stand at this
    /// offset of the file, and are loaded at this address.
    fn decode_piece(&mut self, offset: u32, bytes: &[u8], address: Linked, code: &mut Code) {
        let Linked(address) = address;
        let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
        let mut last: [Mnemonic; 3] = [Mnemonic::INVALID; 3];
        while decoder.can_decode() {
            let decoded = decoder.decode();
            let at = offset + (decoded.ip() - address) as u32;
            let goes = self.goes(&decoded);
            let after_call = last.contains(&Mnemonic::Syscall);
            code.instructions.push(Instruction {
                at,
                length: decoded.len().max(1) as u8,
                padding: matches!(decoded.mnemonic(), Mnemonic::Nop | Mnemonic::Int3),
                op: Op::of(&decoded, &mut self.factory, after_call),
                goes,
            });
            self.taken.extend(address_taken(&decoded));
            if is_sigreturn(&decoded)
                && bytes[(decoded.next_ip() - address) as usize..].starts_with(&SYSCALL)
            {
                let end = at + decoded.len() as u32 + SYSCALL.len() as u32;
                code.trampolines.push(at..end);
            }
            last.rotate_left(1);
            last[2] = decoded.mnemonic();
        }
    }

    fn goes(&mut self, decoded: &Decoded) -> Goes {
        let target = Linked(decoded.near_branch_target());
        match decoded.flow_control() {
            // A program may not halt.
            FlowControl::Next if decoded.mnemonic() == Mnemonic::Hlt => Goes::Nowhere,
            FlowControl::Next => Goes::On,
            FlowControl::IndirectCall => Goes::CallAway,
            FlowControl::Call if decoded.is_call_near() => {
                self.calls.push(target);
                self.offset(target).map_or(Goes::CallAway, Goes::Call)
            }
            // System calls.
            FlowControl::Call => Goes::On,
            FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
                self.offset(target).map_or(Goes::On, Goes::Branch)
            }
            FlowControl::UnconditionalBranch => self.offset(target).map_or(Goes::Away, Goes::Jump),
            FlowControl::IndirectBranch => Goes::Away,
            FlowControl::Return => Goes::Return,
            FlowControl::Interrupt if decoded.code() == Opcode::Int_imm8 => Goes::On,
            FlowControl::Interrupt | FlowControl::Exception => Goes::Nowhere,
        }
    }
}

pub(super) const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// `mov $15,%eax`: the number of `rt_sigreturn`, which nothing but a trampoline
/// calls.
fn is_sigreturn(decoded: &Decoded) -> bool {
    decoded.mnemonic() == Mnemonic::Mov
        && decoded.op0_kind() == OpKind::Register
        && decoded.op0_register().full_register() == Register::RAX
        && decoded.try_immediate(1).is_ok_and(|number| number == 15)
}

/// What may be the address of a function.
fn address_taken(decoded: &Decoded) -> impl Iterator<Item = Linked> {
    let found = match decoded.mnemonic() {
        Mnemonic::Lea if decoded.is_ip_rel_memory_operand() => {
            Some(decoded.ip_rel_memory_address())
        }
        Mnemonic::Mov => decoded.try_immediate(1).ok(),
        _ => None,
    };
    found.map(Linked).into_iter()
}
