//! From one row of call frame information to one rule.

use gimli::{CfaRule, EndianSlice, LittleEndian, Operation, RegisterRule, X86_64};
use tracer_ebpf::tables::{Rule, bp, cfa, ra};

/// The reader of all sections.
pub type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// DWARF encoding of x86-64 (the version only matters for operations that CFI
/// does not use).
const ENCODING: gimli::Encoding = gimli::Encoding {
    format: gimli::Format::Dwarf32,
    version: 4,
    address_size: 8,
};

/// Why a row can't be followed in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unsupported {
    /// The CFA is an offset from what is no general register.
    CfaRegister(u16),
    /// The CFA is an expression of no known shape.
    CfaExpression,
    /// The return address is not found by an offset.
    ReturnAddress,
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CfaRegister(number) => {
                let name = X86_64::register_name(gimli::Register(*number)).unwrap_or("?");
                write!(f, "CFA relative to {name}")
            }
            Self::CfaExpression => f.write_str("CFA by an unknown expression"),
            Self::ReturnAddress => f.write_str("return address by an unknown rule"),
        }
    }
}

/// The rule of a row; `signal` where its function is a signal trampoline.
///
/// # Errors
///
/// If the kernel side can't follow it.
pub fn rule<'a>(
    row: &gimli::UnwindTableRow<usize>,
    section: &impl gimli::UnwindSection<Reader<'a>>,
    signal: bool,
) -> Result<Rule, Unsupported> {
    let mut rule = Rule {
        signal: signal.into(),
        ..Rule::default()
    };
    return_address(row.register(X86_64::RA), section, &mut rule)?;
    if rule.ra == ra::END {
        rule.cfa = cfa::SP;
        return Ok(rule);
    }
    frame_address(row.cfa(), section, &mut rule)?;
    frame_pointer(row.register(X86_64::RBP), section, &mut rule);
    if let Some(RegisterRule::Offset(offset)) = row.register(X86_64::RBX) {
        rule.bx_offset = narrow(offset).unwrap_or(0);
    }
    Ok(rule)
}

fn return_address<'a>(
    found: Option<RegisterRule<usize>>,
    section: &impl gimli::UnwindSection<Reader<'a>>,
    rule: &mut Rule,
) -> Result<(), Unsupported> {
    match found {
        // The entry of a process or thread says that it has no caller.
        Some(RegisterRule::Undefined) => rule.ra = ra::END,
        Some(RegisterRule::Offset(-8)) => rule.ra = ra::NORMAL,
        Some(RegisterRule::Offset(offset)) => {
            rule.ra = ra::AT_CFA;
            rule.ra_offset = narrow(offset).ok_or(Unsupported::ReturnAddress)?;
        }
        Some(RegisterRule::Register(gimli::Register(number @ 0..=15))) => {
            rule.ra = ra::LEAF;
            rule.ra_offset = number.into();
        }
        Some(RegisterRule::Expression(at)) => match place(at.get(section).ok()) {
            Some((X86_64::RSP, offset)) => {
                rule.ra = ra::AT_SP;
                rule.ra_offset = offset;
            }
            _ => return Err(Unsupported::ReturnAddress),
        },
        _ => return Err(Unsupported::ReturnAddress),
    }
    Ok(())
}

fn frame_address<'a>(
    found: &CfaRule<usize>,
    section: &impl gimli::UnwindSection<Reader<'a>>,
    rule: &mut Rule,
) -> Result<(), Unsupported> {
    match found {
        CfaRule::RegisterAndOffset { register, offset } => {
            rule.cfa = match *register {
                X86_64::RSP => cfa::SP,
                X86_64::RBP => cfa::BP,
                X86_64::RBX => cfa::BX,
                // Functions that realign their stack do this for a few
                // instructions, hand-written leaf functions throughout.
                gimli::Register(other @ 0..=15) => {
                    rule.cfa_add = other.into();
                    cfa::LEAF
                }
                other => return Err(Unsupported::CfaRegister(other.0)),
            };
            rule.cfa_offset = narrow(*offset).ok_or(Unsupported::CfaExpression)?;
            Ok(())
        }
        CfaRule::Expression(expression) => expression
            .get(section)
            .ok()
            .and_then(|expression| by_expression(expression, rule))
            .ok_or(Unsupported::CfaExpression),
    }
}

/// The two shapes that are in use: a word on the stack, and the procedure
/// linkage table's `rsp + 8 + 8 × (rip mod 16 ≥ n)`.
fn by_expression(expression: gimli::Expression<Reader<'_>>, rule: &mut Rule) -> Option<()> {
    use Operation::{And, Deref, Ge, Plus, PlusConstant, RegisterOffset, Shl, UnsignedConstant};
    let mut operations = [Operation::Nop; 10];
    let mut count = 0;
    let mut rest = expression.operations(ENCODING);
    while let Some(operation) = rest.next().ok()? {
        *operations.get_mut(count)? = operation;
        count += 1;
    }
    match operations[..count] {
        [
            RegisterOffset {
                register, offset, ..
            },
            Deref {
                size: 8,
                space: false,
                ..
            },
            ref add @ ..,
        ] => {
            rule.cfa = match register {
                X86_64::RSP => cfa::AT_SP,
                X86_64::RBP => cfa::AT_BP,
                _ => return None,
            };
            rule.cfa_offset = narrow(offset)?;
            rule.cfa_add = match *add {
                [] => 0,
                [PlusConstant { value }] => i32::try_from(value).ok()?,
                _ => return None,
            };
        }
        [
            RegisterOffset {
                register: X86_64::RSP,
                offset,
                ..
            },
            RegisterOffset {
                register: X86_64::RA,
                offset: 0,
                ..
            },
            UnsignedConstant { value: 15 },
            And,
            UnsignedConstant {
                value: from @ 0..=15,
            },
            Ge,
            UnsignedConstant { value: 3 },
            Shl,
            Plus,
        ] => {
            rule.cfa = cfa::PLT;
            rule.cfa_offset = narrow(offset)?;
            rule.cfa_add = i32::try_from(from).ok()?;
        }
        _ => return None,
    }
    Some(())
}

/// Where rbp was saved. A rule of no known shape loses it: that only ends a walk
/// if a frame further out is found by rbp.
fn frame_pointer<'a>(
    found: Option<RegisterRule<usize>>,
    section: &impl gimli::UnwindSection<Reader<'a>>,
    rule: &mut Rule,
) {
    let (kind, offset) = match found {
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => (bp::SAME, Some(0)),
        Some(RegisterRule::Offset(offset)) => (bp::AT_CFA, narrow(offset)),
        Some(RegisterRule::Expression(at)) => match place(at.get(section).ok()) {
            Some((X86_64::RSP, offset)) => (bp::AT_SP, Some(offset)),
            Some((X86_64::RBP, offset)) => (bp::AT_BP, Some(offset)),
            _ => (bp::UNKNOWN, Some(0)),
        },
        _ => (bp::UNKNOWN, Some(0)),
    };
    (rule.bp, rule.bp_offset) = match offset {
        Some(offset) => (kind, offset),
        None => (bp::UNKNOWN, 0),
    };
}

/// The register and offset of an expression that only adds the two.
fn place(expression: Option<gimli::Expression<Reader<'_>>>) -> Option<(gimli::Register, i32)> {
    let mut operations = expression?.operations(ENCODING);
    let Operation::RegisterOffset {
        register, offset, ..
    } = operations.next().ok()??
    else {
        return None;
    };
    match operations.next().ok()? {
        None => Some((register, narrow(offset)?)),
        Some(_) => None,
    }
}

fn narrow(offset: i64) -> Option<i32> {
    i32::try_from(offset).ok()
}
