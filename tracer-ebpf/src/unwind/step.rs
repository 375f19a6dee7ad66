//! One step outwards, by the tables.

use super::mapping::kind;
use super::mappings;
use super::spine::fresh;
use super::walk::{UNKNOWN, Walk, frame, mode};
use super::words;
use crate::kernel::given;
use crate::registers::user_register;
use aya_ebpf::btf_maps::{Array, ArrayOfMaps};
use aya_ebpf::macros::btf_map;
use tracer_ebpf::StackEnd;
use tracer_ebpf::tables::{
    CHUNK_WORDS, Chunk, MAX_RULES, MAX_TABLES, NO_RULE, PAGE_SHIFT, PAGES_PER_CHUNK, RULE_BITS,
    Rule, bp, cfa, ra, row,
};

/// `BPF_F_INNER_MAP`: tables differ in size.
const INNER_MAP: usize = 0x1000;

/// Tables, by the number that `FILES` gives; user space makes and loads them.
#[btf_map]
static TABLES: ArrayOfMaps<Array<Chunk, 1, INNER_MAP>, { MAX_TABLES as usize }> =
    ArrayOfMaps::new();

/// Rules, by the number that rows give.
#[btf_map]
static RULES: Array<Rule, { MAX_RULES as usize }> = Array::new();

/// Bytes that a frame found by its frame pointer may have.
const MAX_FRAME_POINTER_STEP: u64 = 1 << 20;

/// Steps from the current frame, the last one recorded, to its caller; false if
/// the walk ends here.
#[inline(always)]
pub(super) fn step(walk: &mut Walk) -> bool {
    let exact = walk.flags & frame::EXACT != 0;
    let at_entry = walk.flags & frame::ENTRY != 0;
    // A call may be the last instruction of its function: the address after it
    // would be the next function's.
    let address = if exact {
        walk.pc
    } else {
        walk.pc.wrapping_sub(1)
    };
    walk.mode = mode::ARRIVE;
    walk.flags = 0;
    let rule = if at_entry {
        &Rule::ENTRY
    } else if exact && walk.trampoline != 0 && address == walk.trampoline {
        // The first return of a probed function faults on the trampoline's page.
        &RETURNED
    } else {
        mappings::locate(walk, address);
        match walk.mapping.kind() {
            kind::TABLE => {}
            kind::NOTHING => return stop(walk, StackEnd::NoTable),
            kind::PENDING => {
                walk.pending = 1;
                return stop(walk, StackEnd::NoTable);
            }
            _ => return by_frame_pointer(walk, StackEnd::FramePointers),
        }
        let number = find_rule(walk, address);
        match RULES.get(number) {
            Some(rule) if rule.cfa != cfa::NONE => rule,
            _ => return by_frame_pointer(walk, StackEnd::FramePointers),
        }
    };
    by_rule(walk, rule, address)
}

/// At the trampoline of pending return probes: the function has just returned, and the return
/// address that was replaced belongs to the word that it took off the stack.
const RETURNED: Rule = Rule {
    cfa_offset: 0,
    ..Rule::ENTRY
};

/// Ends the walk.
#[inline(always)]
fn stop(walk: &mut Walk, end: StackEnd) -> bool {
    walk.end = end as u32;
    false
}

/// The number of the rule for an address in `walk.mapping`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_rule(walk: *mut Walk, address: u64) -> u32 {
    let Some(walk) = given(walk) else {
        return NO_RULE;
    };
    let (table, offset, pages) = walk.mapping.place(address);
    let page = offset >> PAGE_SHIFT;
    if page >= u64::from(pages) {
        return NO_RULE;
    }
    let page = page as u32;
    let Some(index) = TABLES.get_value(table, &(page / PAGES_PER_CHUNK)) else {
        return NO_RULE;
    };
    let slot = (page % PAGES_PER_CHUNK) * 2;
    let chunk = word(index, slot);
    let span = word(index, slot + 1);
    let Some(rows) = TABLES.get_value(table, &chunk) else {
        return NO_RULE;
    };
    let sought = row(offset as u32, u32::MAX);
    let (mut at, mut left) = (span & 0xffff, span >> 16);
    if left == 0 {
        return NO_RULE;
    }
    for _ in 0..CHUNK_WORDS.ilog2() {
        let half = left / 2;
        if half == 0 {
            break;
        }
        if word(rows, at + half) <= sought {
            at += half;
        }
        left -= half;
    }
    word(rows, at) & ((1 << RULE_BITS) - 1)
}

/// A word of a chunk.
#[inline(always)]
fn word(chunk: &Chunk, index: u32) -> u32 {
    // SAFETY: the mask keeps the index in the array.
    unsafe { *chunk.get_unchecked(index as usize & (CHUNK_WORDS - 1)) }
}

/// Adds a signed offset.
#[inline(always)]
fn plus(address: u64, offset: i32) -> u64 {
    address.wrapping_add(offset as i64 as u64)
}

/// The current frame's rbx; 0 if it is not known.
#[inline(always)]
fn rbx(walk: &mut Walk) -> u64 {
    /// Its DWARF number.
    const RBX: u32 = 3;
    let address = walk.bx_address;
    if address == 0 {
        return user_register(RBX);
    }
    if address != UNKNOWN && words::read(walk, address) {
        return walk.window.word;
    }
    0
}

/// Steps by a rule.
#[inline(always)]
fn by_rule(walk: &mut Walk, rule: &Rule, address: u64) -> bool {
    if rule.ra == ra::END {
        return stop(walk, StackEnd::Complete);
    }
    let (sp, bp) = (walk.sp, walk.bp);
    let mut flags = 0;
    let base = match rule.cfa {
        cfa::SP | cfa::AT_SP | cfa::PLT => sp,
        cfa::BP | cfa::AT_BP => {
            flags |= frame::USES_BP;
            bp
        }
        cfa::BX => {
            // Nobody remembers where rbx was saved.
            walk.forget = 1;
            rbx(walk)
        }
        cfa::LEAF if walk.fresh_count == 1 => user_register(rule.cfa_add as u32),
        _ => 0,
    };
    if base == 0 {
        return stop(walk, StackEnd::Unsupported);
    }
    let mut cfa = plus(base, rule.cfa_offset);
    if rule.cfa == cfa::AT_SP || rule.cfa == cfa::AT_BP {
        // What the CFA was read from is not checked when a spine is followed.
        flags |= frame::OPAQUE;
        if !words::read(walk, cfa) {
            return stop(walk, StackEnd::Unreadable);
        }
        cfa = plus(walk.window.word, rule.cfa_add);
    }
    if rule.cfa == cfa::PLT && address & 15 >= u64::from(rule.cfa_add as u32) {
        cfa = cfa.wrapping_add(8);
    }
    let in_register = rule.ra == ra::LEAF;
    let pc = if in_register {
        // There is no word by which a spine could be followed here.
        walk.forget = 1;
        match user_register(rule.ra_offset as u32) {
            known if known != 0 && walk.fresh_count == 1 => known,
            _ => return stop(walk, StackEnd::Unsupported),
        }
    } else {
        let slot = match rule.ra {
            ra::NORMAL => cfa.wrapping_sub(8),
            ra::AT_CFA => {
                flags |= frame::OPAQUE;
                plus(cfa, rule.ra_offset)
            }
            _ => {
                flags |= frame::OPAQUE;
                plus(sp, rule.ra_offset)
            }
        };
        if !words::read_return(walk, slot) {
            return stop(walk, StackEnd::Unreadable);
        }
        walk.window.word
    };
    let saved = match rule.bp {
        bp::SAME => 0,
        bp::AT_CFA => plus(cfa, rule.bp_offset),
        bp::AT_SP => plus(sp, rule.bp_offset),
        bp::AT_BP => {
            flags |= frame::USES_BP;
            plus(bp, rule.bp_offset)
        }
        _ => {
            flags |= frame::OPAQUE;
            walk.bp = 0;
            0
        }
    };
    if rule.bx_offset != 0 {
        walk.bx_address = plus(cfa, rule.bx_offset);
    }
    if rule.signal != 0 {
        walk.flags = frame::EXACT;
        walk.bx_address = UNKNOWN;
    }
    let bare = rule.cfa == cfa::SP && rule.cfa_offset == 0;
    go(walk, flags, pc, cfa, saved, rule.signal != 0 || bare)
}

/// Steps by rbp, where no table says how; `doubt` names the reason.
#[inline(always)]
fn by_frame_pointer(walk: &mut Walk, doubt: StackEnd) -> bool {
    if walk.doubt == 0 {
        walk.doubt = doubt as u32;
    }
    let bp = walk.bp;
    if bp < walk.sp || bp - walk.sp > MAX_FRAME_POINTER_STEP || bp & 7 != 0 {
        return stop(walk, doubt);
    }
    if !words::read_return(walk, bp.wrapping_add(8)) {
        return stop(walk, doubt);
    }
    let pc = walk.window.word;
    let flags = frame::USES_BP | frame::DOUBTFUL;
    go(walk, flags, pc, bp.wrapping_add(16), bp, false)
}

/// Makes the caller the current frame. `saved` is where its rbp was saved, 0 for
/// nowhere; `anywhere` allows a stack pointer that is no higher.
#[inline(always)]
fn go(walk: &mut Walk, mut flags: u32, pc: u64, sp: u64, saved: u64, anywhere: bool) -> bool {
    if pc == 0 {
        return stop(walk, StackEnd::Complete);
    }
    // Frames lie above their callees, but for those that a signal interrupted
    // (handlers may have a stack of their own) and callers of what has nothing on
    // it (vfork, the trampoline).
    if sp <= walk.sp && !anywhere {
        return stop(walk, StackEnd::Unreadable);
    }
    let mut slot = 0;
    if saved != 0 {
        if !words::read(walk, saved) {
            return stop(walk, StackEnd::Unreadable);
        }
        walk.bp = walk.window.word;
        slot = saved.wrapping_sub(sp) as i32;
    }
    if i64::from(slot) as u64 != saved.wrapping_sub(sp) && saved != 0 || slot == 0 && saved != 0 {
        flags |= frame::OPAQUE;
    }
    let last = fresh(walk, walk.fresh_count.wrapping_sub(1));
    last.bp_slot = slot;
    last.flags = last.flags & (frame::EXACT | frame::ENTRY) | flags;
    walk.pc = pc;
    walk.sp = sp;
    true
}
