//! What an instruction does to the frame.

use crate::unwind::table::UNSUPPORTED;
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use tracer_ebpf::tables::{Rule, bp, cfa, ra};

/// A step of the stack that is no honest function's.
const MAX_OFFSET: i32 = 1 << 28;

/// An instruction, as far as the frame is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Changes nothing.
    None,
    /// Moves rsp.
    Move(i32),
    /// rsp is what nobody knows.
    Lose,
    /// Both are what nobody knows.
    LoseBoth,
    /// rsp = rbp + offset
    FromBp(i32),
    /// rbp = rsp + offset
    ToBp(i32),
    /// `push %rbp`
    Push,
    /// `pop %rbp`
    Pop,
    /// `leave`
    Leave,
    /// Stores rbp at rsp + offset.
    Store(i32),
    /// Loads rbp from rsp + offset.
    Load(i32),
    /// rbp is what nobody knows.
    LoseBp,
    /// rbp = 0 soon after a system call.
    ClearBp,
}

impl Op {
    /// `after_call`: a system call came shortly before.
    pub(super) fn of(
        instruction: &Instruction,
        factory: &mut InstructionInfoFactory,
        after_call: bool,
    ) -> Self {
        if let Some(known) = Self::known(instruction, after_call) {
            return known;
        }
        let writes = |register: Register, factory: &mut InstructionInfoFactory| {
            let info = factory.info(instruction);
            info.used_registers().iter().any(|used| {
                used.register().full_register() == register
                    && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
            })
        };
        // A push or a pop writes its stack pointer, by as much as it says.
        let moved = instruction.stack_pointer_increment();
        if writes(Register::RBP, factory) {
            return match writes(Register::RSP, factory) {
                true => Self::LoseBoth,
                false => Self::LoseBp,
            };
        }
        if moved != 0 && instruction.is_stack_instruction() {
            let explicit = instruction.op0_kind() == OpKind::Register
                && instruction.op0_register().full_register() == Register::RSP
                && instruction.mnemonic() == Mnemonic::Pop;
            return if explicit {
                Self::Lose
            } else {
                Self::Move(moved)
            };
        }
        match writes(Register::RSP, factory) {
            true => Self::Lose,
            false => Self::None,
        }
    }

    /// The instructions of prologues and epilogues.
    fn known(instruction: &Instruction, after_call: bool) -> Option<Self> {
        use Register::{EBP, RBP, RSP};
        let register = |n: u32| match instruction.op_kind(n) {
            OpKind::Register => instruction.op_register(n),
            _ => Register::None,
        };
        let first = match instruction.op_count() {
            0 => Register::None,
            _ => register(0),
        };
        let second = match instruction.op_count() {
            2 => register(1),
            _ => Register::None,
        };
        let at = |n: u32, base: Register| {
            let plain = instruction.op_count() > n
                && instruction.op_kind(n) == OpKind::Memory
                && instruction.memory_base() == base
                && instruction.memory_index() == Register::None
                && instruction.segment_prefix() == Register::None;
            plain.then(|| i32::try_from(instruction.memory_displacement64() as i64).ok())?
        };
        let number = || i32::try_from(instruction.try_immediate(1).ok()? as i64).ok();
        Some(match (instruction.mnemonic(), first, second) {
            // What a call pushes its return takes.
            (Mnemonic::Call | Mnemonic::Ret, ..) => Self::None,
            (Mnemonic::Push, RBP, _) => Self::Push,
            (Mnemonic::Pop, RBP, _) => Self::Pop,
            (Mnemonic::Leave, ..) if instruction.stack_pointer_increment() == 0 => Self::Leave,
            (Mnemonic::Add, RSP, Register::None) => Self::Move(number()?),
            (Mnemonic::Sub, RSP, Register::None) => Self::Move(number()?.checked_neg()?),
            (Mnemonic::Lea, RSP, _) => match at(1, RSP) {
                Some(offset) => Self::Move(offset),
                None => Self::FromBp(at(1, RBP)?),
            },
            (Mnemonic::Mov, RSP, RBP) => Self::FromBp(0),
            (Mnemonic::Mov, RBP, RSP) => Self::ToBp(0),
            (Mnemonic::Lea, RBP, _) => Self::ToBp(at(1, RSP)?),
            (Mnemonic::Mov, RBP, Register::None) => Self::Load(at(1, RSP)?),
            (Mnemonic::Mov, Register::None, RBP) => Self::Store(at(0, RSP)?),
            (Mnemonic::Xor, EBP | RBP, other) if other == first && after_call => Self::ClearBp,
            _ => return None,
        })
    }
}

/// What a place on the stack is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The canonical frame address.
    Cfa,
    /// The stack pointer where an inference began.
    Sp,
    /// rbp where it began.
    Bp,
}

/// A place on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StackSlot {
    pub(super) origin: Origin,
    pub(super) offset: i32,
}

impl StackSlot {
    pub(super) const fn new(origin: Origin, offset: i32) -> Self {
        Self { origin, offset }
    }

    pub(super) fn plus(self, offset: i32) -> Option<Self> {
        let offset = self.offset.checked_add(offset)?;
        (offset.abs() < MAX_OFFSET).then_some(Self { offset, ..self })
    }
}

/// Where the caller's rbp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// In rbp.
    Not,
    /// On the stack.
    At(StackSlot),
    /// Nobody knows.
    Lost,
}

/// The frame before an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// What rsp points to.
    pub(super) sp: Option<StackSlot>,
    /// What rbp points to.
    pub(super) bp: Option<StackSlot>,
    pub(super) saved: Saved,
    /// Nobody called this: a process or thread begins.
    pub(super) end: bool,
}

/// The stack pointer where the return address is on top.
pub(super) const TOP: StackSlot = StackSlot::new(Origin::Cfa, -8);

impl State {
    /// At the entry of a function.
    pub(super) const ENTRY: Self = Self {
        sp: Some(TOP),
        bp: None,
        saved: Saved::Not,
        end: false,
    };

    /// After an instruction.
    pub(super) fn after(mut self, op: Op) -> Self {
        match op {
            Op::None => {}
            Op::Move(bytes) => self.sp = self.sp.and_then(|sp| sp.plus(bytes)),
            Op::Lose => self.sp = None,
            Op::LoseBoth => {
                self.sp = None;
                self.lose_bp();
            }
            Op::FromBp(offset) => self.sp = self.bp.and_then(|bp| bp.plus(offset)),
            Op::ToBp(offset) => {
                self.lose_bp();
                self.bp = self.sp.and_then(|sp| sp.plus(offset));
            }
            Op::Push => {
                self.sp = self.sp.and_then(|sp| sp.plus(-8));
                self.save(self.sp);
            }
            Op::Pop => {
                self.restore(self.sp);
                self.sp = self.sp.and_then(|sp| sp.plus(8));
            }
            Op::Leave => {
                self.sp = self.bp;
                return self.after(Op::Pop);
            }
            Op::Store(offset) => self.save(self.sp.and_then(|sp| sp.plus(offset))),
            Op::Load(offset) => self.restore(self.sp.and_then(|sp| sp.plus(offset))),
            Op::LoseBp => self.lose_bp(),
            Op::ClearBp => {
                self.end |= self.sp == Some(TOP) && self.saved == Saved::Not;
                self.lose_bp();
            }
        }
        // With its return address taken off, a function may go anywhere.
        if self
            .sp
            .is_some_and(|sp| sp.origin == Origin::Cfa && sp.offset > TOP.offset)
        {
            self.sp = None;
        }
        self
    }

    fn save(&mut self, to: Option<StackSlot>) {
        if let (Saved::Not, Some(place)) = (self.saved, to) {
            self.saved = Saved::At(place);
        }
    }

    fn restore(&mut self, from: Option<StackSlot>) {
        let own = matches!((self.saved, from), (Saved::At(a), Some(b)) if a == b);
        if own {
            (self.saved, self.bp) = (Saved::Not, None);
        } else {
            self.lose_bp();
        }
    }

    fn lose_bp(&mut self) {
        self.bp = None;
        if self.saved == Saved::Not {
            self.saved = Saved::Lost;
        }
    }

    /// What holds whichever of two ways was taken, and whether they contradict
    /// each other.
    pub(super) fn join(self, other: Self) -> (Self, bool) {
        fn same<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<T> {
            a.filter(|a| b.as_ref() == Some(a))
        }
        let contradict = matches!((self.sp, other.sp), (Some(a), Some(b)) if a != b);
        let joined = Self {
            sp: same(self.sp, other.sp),
            bp: same(self.bp, other.bp),
            saved: if self.saved == other.saved {
                self.saved
            } else {
                Saved::Lost
            },
            end: self.end && other.end,
        };
        (joined, contradict || self.end != other.end)
    }

    /// The rule at this instruction.
    pub(super) fn rule(self) -> Rule {
        if self.end {
            return Rule {
                cfa: cfa::SP,
                ra: ra::END,
                ..Rule::default()
            };
        }
        let cfa_relative = |place: Option<StackSlot>| place.filter(|p| p.origin == Origin::Cfa);
        let (kind, from) = match (cfa_relative(self.sp), cfa_relative(self.bp)) {
            (Some(sp), _) => (cfa::SP, sp),
            (None, Some(bp)) => (cfa::BP, bp),
            (None, None) => return UNSUPPORTED,
        };
        let (saved, at) = match self.saved {
            Saved::Not => (bp::SAME, 0),
            Saved::At(StackSlot {
                origin: Origin::Cfa,
                offset,
            }) => (bp::AT_CFA, offset),
            _ => (bp::UNKNOWN, 0),
        };
        Rule {
            cfa: kind,
            ra: ra::NORMAL,
            bp: saved,
            cfa_offset: -from.offset,
            bp_offset: at,
            ..Rule::default()
        }
    }
}
