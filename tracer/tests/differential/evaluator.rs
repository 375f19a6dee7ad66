//! Another unwinder, to compare with: `.eh_frame` evaluated by gimli over the copy of a stack,
//! all registers included. It shares nothing with the tables or with those who walk by them.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, EvaluationResult, LittleEndian,
    ParsedEhFrameHdr, RegisterRule, UnwindContext, UnwindSection, Value,
};
use object::{Object as _, ObjectSection as _, ObjectSegment as _, SegmentFlags};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tracer::unwind::StackCopy;

type Reader = EndianSlice<'static, LittleEndian>;

/// DWARF number of the column that holds the return address.
const RETURN: u16 = 16;

/// What a file's `.eh_frame` is read with.
struct File {
    /// Address, size and file offset of executable segments.
    segments: Vec<(u64, u64, u64)>,
    frames: EhFrame<Reader>,
    header: ParsedEhFrameHdr<Reader>,
    bases: BaseAddresses,
}

impl File {
    fn open(path: &Path) -> Option<Self> {
        let data = std::fs::read(path).ok()?;
        let object = object::File::parse(data.as_slice()).ok()?;
        let section = |name: &str| {
            let section = object.section_by_name(name)?;
            // For as long as the test runs.
            let data: &'static [u8] = section.uncompressed_data().ok()?.into_owned().leak();
            Some((Reader::new(data, LittleEndian), section.address()))
        };
        let (frames, frames_at) = section(".eh_frame")?;
        let (header, header_at) = section(".eh_frame_hdr")?;
        let bases = BaseAddresses::default()
            .set_eh_frame(frames_at)
            .set_eh_frame_hdr(header_at)
            .set_text(section(".text")?.1);
        let segments = object.segments().filter(|segment| {
            matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.0 & 1 != 0)
        });
        let header = EhFrameHdr::from(header).parse(&bases, 8).ok()?;
        Some(Self {
            segments: segments
                .map(|s| (s.address(), s.file_range().1, s.file_range().0))
                .collect(),
            frames: EhFrame::from(frames),
            header,
            bases,
        })
    }

    /// The address, as the file counts, of a file offset.
    fn address(&self, offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|&(address, size, from)| {
            let inside = offset.checked_sub(from)?;
            (inside < size).then_some(address + inside)
        })
    }
}

/// Files by path; nothing where a file has no `.eh_frame`.
#[derive(Default)]
pub(crate) struct Evaluator {
    files: HashMap<PathBuf, Option<File>>,
    context: UnwindContext<usize>,
}

/// Registers by DWARF number.
type Registers = [u64; 17];

impl Evaluator {
    /// All frames of a copy, the instruction pointer first; nothing where the evaluation can't go
    /// on. `locate` says in which file, and where in it, an address lies; `real` is the return
    /// address that a uretprobe replaced.
    pub(crate) fn walk(
        &mut self,
        copy: &StackCopy,
        pc: u64,
        real: Option<u64>,
        locate: impl Fn(u64) -> Option<(PathBuf, u64)>,
    ) -> Option<Vec<u64>> {
        let mut registers = registers(copy);
        let mut frames = vec![pc];
        let mut exact = true;
        let word = |address: u64| -> Option<u64> {
            let first = copy.sp & !4095;
            let at = usize::try_from(address.checked_sub(first)?).ok()?;
            let is_hole = |page: usize| page > 63 || copy.holes >> page & 1 != 0;
            if is_hole(at / 4096) || is_hole((at + 7) / 4096) {
                return None;
            }
            let word = copy.bytes.get(at..)?.first_chunk::<8>()?;
            let word = u64::from_le_bytes(*word);
            let replaced = copy.trampoline != 0 && word == copy.trampoline;
            if replaced { real } else { Some(word) }
        };
        registers[usize::from(RETURN)] = pc;
        if copy.at_entry {
            registers[usize::from(RETURN)] = word(copy.sp)?;
            registers[7] = copy.sp + 8;
            frames.push(registers[usize::from(RETURN)]);
            exact = false;
        }
        while frames.len() < 512 {
            let pc = registers[usize::from(RETURN)];
            let (path, offset) = locate(pc - u64::from(!exact))?;
            let file = self
                .files
                .entry(path)
                .or_insert_with_key(|path| File::open(path))
                .as_ref()?;
            match step(file, &mut self.context, offset, &registers, word)? {
                Step::End => return Some(frames),
                Step::Caller(caller, signal) => {
                    (registers, exact) = (caller, signal);
                    if registers[usize::from(RETURN)] == 0 {
                        return Some(frames);
                    }
                    frames.push(registers[usize::from(RETURN)]);
                }
            }
        }
        None
    }
}

/// `struct pt_regs` begins with r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx,
/// rsi, rdi (arch/x86/include/asm/ptrace.h); the numbers are those of the System V ABI.
fn registers(copy: &StackCopy) -> Registers {
    let numbers = [15, 14, 13, 12, 6, 3, 11, 10, 9, 8, 0, 2, 1, 4, 5];
    let mut registers = [0; 17];
    for (number, value) in numbers.into_iter().zip(copy.registers) {
        registers[number] = value;
    }
    registers[7] = copy.sp;
    registers
}

enum Step {
    End,
    /// The caller's registers, and whether it was interrupted rather than calling.
    Caller(Registers, bool),
}

fn step(
    file: &File,
    context: &mut UnwindContext<usize>,
    offset: u64,
    registers: &Registers,
    word: impl Fn(u64) -> Option<u64>,
) -> Option<Step> {
    let address = file.address(offset)?;
    let table = file.header.table()?;
    let function = table
        .fde_for_address(&file.frames, &file.bases, address, EhFrame::cie_from_offset)
        .ok()?;
    let encoding = function.cie().encoding();
    let signal = function.is_signal_trampoline();
    let row = function
        .unwind_info_for_address(&file.frames, &file.bases, context, address)
        .ok()?;
    let evaluate = |expression: gimli::UnwindExpression<usize>, start: Option<u64>| {
        let expression = expression.get(&file.frames).ok()?;
        evaluate(expression, encoding, start, registers, &word)
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            registers[usize::from(register.0)].wrapping_add_signed(*offset)
        }
        CfaRule::Expression(expression) => evaluate(*expression, None)?,
    };
    let mut caller = *registers;
    caller[7] = cfa;
    for number in 0..=RETURN {
        caller[usize::from(number)] = match row.register(gimli::Register(number)) {
            Some(RegisterRule::Undefined) if number == RETURN => return Some(Step::End),
            Some(RegisterRule::Offset(offset)) => word(cfa.wrapping_add_signed(offset))?,
            Some(RegisterRule::ValOffset(offset)) => cfa.wrapping_add_signed(offset),
            Some(RegisterRule::Register(other)) => registers[usize::from(other.0)],
            Some(RegisterRule::Expression(expression)) => word(evaluate(expression, Some(cfa))?)?,
            Some(RegisterRule::ValExpression(expression)) => evaluate(expression, Some(cfa))?,
            _ => continue,
        };
    }
    Some(Step::Caller(caller, signal))
}

fn evaluate(
    expression: gimli::Expression<Reader>,
    encoding: gimli::Encoding,
    start: Option<u64>,
    registers: &Registers,
    word: impl Fn(u64) -> Option<u64>,
) -> Option<u64> {
    let mut evaluation = expression.evaluation(encoding);
    if let Some(start) = start {
        evaluation.set_initial_value(start);
    }
    let mut result = evaluation.evaluate().ok()?;
    loop {
        result = match result {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresMemory { address, .. } => evaluation
                .resume_with_memory(Value::Generic(word(address)?))
                .ok()?,
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = registers.get(usize::from(register.0))?;
                evaluation
                    .resume_with_register(Value::Generic(*value))
                    .ok()?
            }
            _ => return None,
        };
    }
    evaluation.value_result()?.to_u64(u64::MAX).ok()
}
