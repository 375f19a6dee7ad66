//! Walks the copy of a stack by the tables, as the BPF programs walk the stack
//! itself (`tracer-ebpf/src/unwind/step.rs`): for stacks that came before the
//! table of a file on their way was ready.

use super::lookup::Found;
use tracer_ebpf::tables::{Rule, bp, cfa, ra};
use tracer_ebpf::{COPY_PAGE, MAX_FRAMES, StackEnd};

/// Bytes that a frame found by its frame pointer may have.
const MAX_FRAME_POINTER_STEP: u64 = 1 << 20;

/// DWARF numbers of the registers that `struct pt_regs` begins with: r15, r14,
/// r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi.
const NUMBERS: [u8; 15] = [15, 14, 13, 12, 6, 3, 11, 10, 9, 8, 0, 2, 1, 4, 5];

const RBX: u8 = 3;

/// A stack that was copied rather than walked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackCopy {
    /// Stack pointer.
    pub sp: u64,
    /// rbp.
    pub bp: u64,
    /// Whether the innermost function has pushed nothing yet.
    pub at_entry: bool,
    /// Bit by page: 1 where it could not be read.
    pub holes: u64,
    /// What stands in place of return addresses that uretprobes replaced; 0
    /// where there is none.
    pub trampoline: u64,
    /// The first registers of `struct pt_regs`, r15 to rdi.
    pub registers: [u64; 15],
    /// The stack by pages, from the one on that `sp` lies in.
    pub bytes: Vec<u8>,
}

/// Walks a copy. `frames` are those that the programs found before they had to
/// stop, the instruction pointer first; the others are added. `find` says what is
/// known of the instruction that a frame stands at.
///
/// Returns how the walk ended.
pub fn walk(copy: &StackCopy, frames: &mut Vec<u64>, find: impl FnMut(u64) -> Found) -> StackEnd {
    let Some(&pc) = frames.first() else {
        return StackEnd::Empty;
    };
    let mut walk = Walk {
        copy,
        pc,
        sp: copy.sp,
        bp: Some(copy.bp),
        bx: copy.register(RBX),
        exact: true,
        doubt: None,
        depth: 1,
        found: frames,
    };
    let end = walk.run(find);
    let doubt = walk.doubt;
    let depth = walk.depth;
    frames.truncate(depth);
    match (end, doubt) {
        (StackEnd::Complete, Some(doubt)) => doubt,
        (end, _) => end,
    }
}

impl StackCopy {
    fn register(&self, number: u8) -> Option<u64> {
        let at = NUMBERS.iter().position(|&n| n == number)?;
        Some(self.registers[at])
    }

    fn word(&self, address: u64) -> Result<u64, StackEnd> {
        let first = self.sp & !(COPY_PAGE as u64 - 1);
        let offset = address.checked_sub(first).ok_or(StackEnd::Unreadable)?;
        let offset = usize::try_from(offset).map_err(|_| StackEnd::Unreadable)?;
        let is_hole = |page: usize| page < 64 && self.holes >> page & 1 != 0;
        if is_hole(offset / COPY_PAGE) || is_hole(offset.saturating_add(7) / COPY_PAGE) {
            return Err(StackEnd::Unreadable);
        }
        let bytes = self.bytes.get(offset..).and_then(|b| b.first_chunk::<8>());
        let bytes = bytes.ok_or(StackEnd::CopyEnds)?;
        Ok(u64::from_le_bytes(*bytes))
    }
}

struct Walk<'a> {
    copy: &'a StackCopy,
    pc: u64,
    sp: u64,
    /// None: lost on the way.
    bp: Option<u64>,
    /// Likewise.
    bx: Option<u64>,
    /// Whether `pc` is the instruction at which the frame stands.
    exact: bool,
    /// What a complete walk is called instead: a step was by a frame pointer that
    /// no table vouches for.
    doubt: Option<StackEnd>,
    /// Frames so far; those in `found` beyond are the programs' own.
    depth: usize,
    found: &'a mut Vec<u64>,
}

/// A frame's caller.
struct Caller {
    pc: u64,
    sp: u64,
    bp: Option<u64>,
    signal: bool,
    /// Whether its stack pointer may be no higher.
    anywhere: bool,
}

impl Walk<'_> {
    fn run(&mut self, mut find: impl FnMut(u64) -> Found) -> StackEnd {
        loop {
            let address = self.pc.wrapping_sub(u64::from(!self.exact));
            let caller = match self.step(address, &mut find) {
                Ok(Some(caller)) => caller,
                Ok(None) => return StackEnd::Complete,
                Err(end) => return end,
            };
            if caller.pc == 0 {
                return StackEnd::Complete;
            }
            // Frames lie above their callees, but for those that a signal
            // interrupted (handlers may have a stack of their own) and callers of
            // what has nothing on it (vfork).
            if caller.sp <= self.sp && !caller.anywhere {
                return StackEnd::Unreadable;
            }
            if self.depth >= MAX_FRAMES {
                return StackEnd::Cut;
            }
            self.exact = caller.signal;
            if caller.signal {
                self.bx = None;
            }
            (self.pc, self.sp, self.bp) = (caller.pc, caller.sp, caller.bp);
            self.found.truncate(self.depth);
            self.found.push(self.pc);
            self.depth += 1;
        }
    }

    /// The current frame's caller; `None` at the entry of the process or thread.
    fn step(
        &mut self,
        address: u64,
        find: &mut impl FnMut(u64) -> Found,
    ) -> Result<Option<Caller>, StackEnd> {
        if self.depth == 1 && self.copy.at_entry {
            let caller = Caller {
                pc: self.return_address(self.sp)?,
                sp: self.sp.wrapping_add(8),
                bp: self.bp,
                signal: false,
                anywhere: false,
            };
            return Ok(Some(caller));
        }
        match find(address) {
            Found::Rule(rule) => self.by_rule(&rule, address),
            Found::NoRule => self.by_frame_pointer(StackEnd::FramePointers).map(Some),
            Found::NotReady => Err(StackEnd::NoTable),
        }
    }

    /// A return address, the real one where a uretprobe is pending: the programs
    /// know it, and it is the next of their frames.
    fn return_address(&self, slot: u64) -> Result<u64, StackEnd> {
        let word = self.copy.word(slot)?;
        if word != self.copy.trampoline || word == 0 {
            return Ok(word);
        }
        let known = self.found.get(self.depth);
        known.copied().ok_or(StackEnd::Unreadable)
    }

    fn by_rule(&mut self, rule: &Rule, address: u64) -> Result<Option<Caller>, StackEnd> {
        if rule.ra == ra::END {
            return Ok(None);
        }
        let cfa = self.frame_address(rule, address)?;
        let pc = match rule.ra {
            ra::NORMAL => self.return_address(cfa.wrapping_sub(8))?,
            ra::AT_CFA => self.return_address(plus(cfa, rule.ra_offset))?,
            ra::AT_SP => self.return_address(plus(self.sp, rule.ra_offset))?,
            _ => self.leaf_register(rule.ra_offset)?,
        };
        let saved = match rule.bp {
            bp::SAME => None,
            bp::AT_CFA => Some(plus(cfa, rule.bp_offset)),
            bp::AT_SP => Some(plus(self.sp, rule.bp_offset)),
            bp::AT_BP => Some(plus(self.need(self.bp)?, rule.bp_offset)),
            _ => {
                self.bp = None;
                None
            }
        };
        let bp = match saved {
            Some(saved) => Some(self.copy.word(saved)?),
            None => self.bp,
        };
        if rule.bx_offset != 0 {
            self.bx = Some(self.copy.word(plus(cfa, rule.bx_offset))?);
        }
        Ok(Some(Caller {
            pc,
            sp: cfa,
            bp,
            signal: rule.signal != 0,
            anywhere: rule.signal != 0 || rule.cfa == cfa::SP && rule.cfa_offset == 0,
        }))
    }

    /// The canonical frame address.
    fn frame_address(&self, rule: &Rule, address: u64) -> Result<u64, StackEnd> {
        let base = match rule.cfa {
            cfa::SP | cfa::AT_SP | cfa::PLT => self.sp,
            cfa::BP | cfa::AT_BP => self.need(self.bp)?,
            cfa::BX => self.need(self.bx)?,
            cfa::LEAF => self.leaf_register(rule.cfa_add)?,
            _ => return Err(StackEnd::Unsupported),
        };
        let mut cfa = plus(base, rule.cfa_offset);
        if rule.cfa == cfa::AT_SP || rule.cfa == cfa::AT_BP {
            cfa = plus(self.copy.word(cfa)?, rule.cfa_add);
        }
        if rule.cfa == cfa::PLT && address & 15 >= u64::from(rule.cfa_add as u32) {
            cfa = cfa.wrapping_add(8);
        }
        Ok(cfa)
    }

    /// A register by its number, which only the innermost frame has.
    fn leaf_register(&self, number: i32) -> Result<u64, StackEnd> {
        let number = u8::try_from(number).ok().filter(|_| self.depth == 1);
        let value = number.and_then(|number| self.copy.register(number));
        self.need(value.filter(|&value| value != 0))
    }

    fn need(&self, register: Option<u64>) -> Result<u64, StackEnd> {
        register.ok_or(StackEnd::Unsupported)
    }

    fn by_frame_pointer(&mut self, doubt: StackEnd) -> Result<Caller, StackEnd> {
        self.doubt.get_or_insert(doubt);
        let bp = self.bp.ok_or(doubt)?;
        let distance = bp.checked_sub(self.sp).ok_or(doubt)?;
        if distance > MAX_FRAME_POINTER_STEP || bp & 7 != 0 {
            return Err(doubt);
        }
        let pc = self.return_address(bp.wrapping_add(8)).map_err(|_| doubt)?;
        Ok(Caller {
            pc,
            sp: bp.wrapping_add(16),
            bp: Some(self.copy.word(bp)?),
            signal: false,
            anywhere: false,
        })
    }
}

/// Adds a signed offset.
fn plus(address: u64, offset: i32) -> u64 {
    address.wrapping_add(offset as i64 as u64)
}
