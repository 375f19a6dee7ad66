//! Functions that go on behind the end of their unwind information.
//!
//! glibc ends that of `clone` and `clone3` right before their `syscall`, for the child
//! comes out of it with another stack. What calls them (`posix_spawn`, `system`, `popen`)
//! is a caller of the process that makes it all the same, and has the frame that stood
//! there, as long as nothing moves the stack pointer.

use super::sweep::{MAX_SEARCHED, SYSCALL};
use super::{Gap, state::Op};
use crate::units::{Bytes, FileOffset};
use crate::unwind::info::{Segment, UnwindInfo};
use crate::unwind::table::{Row, Table};
use iced_x86::{Decoder, DecoderOptions, FlowControl, InstructionInfoFactory};
use std::borrow::Cow;
use tracer_ebpf::tables::NO_RULE;

/// Bytes of such an end that are looked at.
const MAX_END: usize = 64;

/// Such ends of a file that are looked at one by one.
const MAX_ENDS: usize = 4096;

/// Gives the ends the rules that hold where they begin.
pub(super) fn go_on(table: &mut Table, image: &UnwindInfo<'_>, gaps: &[Gap]) {
    let sizes = image.segments.iter().map(|segment| segment.size.0);
    let small = sizes.fold(0, u64::saturating_add) <= MAX_SEARCHED;
    let likely = gaps.iter().filter(|gap| small || !is_padding(gap));
    let code = Code::of(image, small);
    let (mut ends, mut rows) = (Vec::new(), Vec::new());
    for gap in likely.take(if small { usize::MAX } else { MAX_ENDS }) {
        let length = code.after_call(gap).map_or(0, |code| still(&code));
        let before = table.rows.partition_point(|row| row.offset < gap.start);
        let held = before.checked_sub(1).map(|at| table.rows[at].rule);
        let Some(rule) = held.filter(|&rule| rule != NO_RULE && length > 0) else {
            continue;
        };
        rows.push(Row {
            offset: gap.start,
            rule,
        });
        let end = gap.start + length;
        if end < gap.end {
            rows.push(Row {
                offset: end,
                rule: NO_RULE,
            });
        }
        ends.push(gap.clone());
    }
    if !ends.is_empty() {
        table.splice(&ends, &rows);
    }
}

/// Whether it is as long as what fills up the way to the next function, and ends there.
fn is_padding(gap: &Gap) -> bool {
    gap.len() < 16 && gap.end.is_multiple_of(16)
}

/// The code of a file with the gaps in it.
struct Code<'i> {
    image: &'i UnwindInfo<'i>,
    /// All of a small file, by the segments that it is in: read at once, and not gap by gap.
    whole: Vec<(Segment, Cow<'i, [u8]>)>,
}

impl<'i> Code<'i> {
    fn of(image: &'i UnwindInfo<'_>, small: bool) -> Self {
        let all = image.segments.iter().filter(|_| small);
        let read = |segment: &Segment| {
            let bytes = image.bytes(segment.offset, segment.size)?;
            Some((*segment, bytes))
        };
        Self {
            image,
            whole: all.filter_map(read).collect(),
        }
    }

    /// The code of a gap, if a system call begins it: with that nobody begins a function, the number
    /// of the call came before.
    fn after_call(&self, gap: &Gap) -> Option<Cow<'_, [u8]>> {
        let (start, length) = (u64::from(gap.start), gap.len().min(MAX_END));
        let whole = self.whole.iter().find_map(|(segment, bytes)| {
            let inside = usize::try_from(start.checked_sub(segment.offset.0)?).ok()?;
            let rest = bytes.get(inside..).filter(|rest| !rest.is_empty())?;
            Some(Cow::Borrowed(&rest[..rest.len().min(length)]))
        });
        let code = match self.whole.is_empty() {
            true => self.image.bytes(FileOffset(start), Bytes(length as u64))?,
            false => whole?,
        };
        code.starts_with(&SYSCALL).then_some(code)
    }
}

/// How many bytes of code leave the frame as it is.
fn still(code: &[u8]) -> u32 {
    let mut factory = InstructionInfoFactory::new();
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut length = 0;
    while decoder.can_decode() {
        let decoded = decoder.decode();
        // A return takes its address away, but only once it is done.
        let returns = decoded.flow_control() == FlowControl::Return;
        let known = !decoded.is_invalid() && !decoded.is_call_near();
        if !known || !returns && Op::of(&decoded, &mut factory, false) != Op::None {
            break;
        }
        length = decoded.next_ip() as u32;
        if returns || decoded.flow_control() == FlowControl::UnconditionalBranch {
            break;
        }
    }
    length
}
