//! How much stack the BPF programs need, by the verifier's own rule.
//!
//! A program and whatever it calls, callbacks included, may use 512 bytes of stack at any
//! depth (kernel/bpf/verifier.c, `check_max_stack_depth_subprog`). Each function's frame is
//! rounded up first: to 32 bytes up to Linux 6.8, to 16 from 6.9 on. From 6.13 on the x86-64
//! compiler gives tracing programs stacks of their own, so that a kernel as new as that
//! accepts what all others refuse: this looks where no such kernel would.

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};
use std::collections::{BTreeMap, HashMap};

/// Bytes that a chain of calls may use (include/linux/filter.h, `MAX_BPF_STACK`).
pub(crate) const LIMIT: u32 = 512;

/// To what frames are rounded up: by older kernels, and by newer ones.
pub(crate) const ROUNDINGS: [u32; 2] = [32, 16];

/// Instructions that a program may have with all that it calls. The verifier's own limit is on
/// the million that it visits, on each kernel another number of them (`cargo xtask vm` asks
/// for those): a program of this size is far from it.
pub(crate) const MOST_INSTRUCTIONS: usize = 8192;

/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

/// A function: where it is.
type Place = (usize, u64);

/// What a program needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// Its name.
    pub(crate) name: String,
    /// Bytes of stack by each of [`ROUNDINGS`].
    pub(crate) stack: [u32; 2],
    /// The chain of calls that needs most, by the first rounding: name and unrounded frame.
    pub(crate) chain: Vec<(String, u32)>,
    /// Instructions of it and all that it calls.
    pub(crate) instructions: usize,
}

struct Function {
    name: String,
    frame: u32,
    instructions: usize,
    calls: Vec<Place>,
}

/// What each program of an object needs, by name.
///
/// # Errors
/// Where the object is not what a BPF compiler makes, or calls itself in a circle.
pub(crate) fn needs(object: &[u8]) -> Result<Vec<Need>> {
    let file = object::File::parse(object)?;
    let functions = functions(&file)?;
    let text = file
        .section_by_name(".text")
        .map(|section| section.index().0);
    let mut needs = Vec::new();
    for (&place, function) in &functions {
        if Some(place.0) != text {
            needs.push(need(&functions, place, &function.name)?);
        }
    }
    needs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(needs)
}

fn need(functions: &BTreeMap<Place, Function>, place: Place, name: &str) -> Result<Need> {
    let mut instructions = BTreeMap::new();
    let deepest = |rounding| deepest(functions, place, rounding, 0);
    let (older, chain) = deepest(ROUNDINGS[0])?;
    let (newer, _) = deepest(ROUNDINGS[1])?;
    reach(functions, place, &mut instructions);
    Ok(Need {
        name: name.to_owned(),
        stack: [older, newer],
        chain,
        instructions: instructions.values().sum(),
    })
}

fn reach(functions: &BTreeMap<Place, Function>, place: Place, seen: &mut BTreeMap<Place, usize>) {
    if let Some(function) = functions.get(&place)
        && seen.insert(place, function.instructions).is_none()
    {
        for &callee in &function.calls {
            reach(functions, callee, seen);
        }
    }
}

/// Bytes of the deepest chain of calls from a function on, and the chain.
fn deepest(
    functions: &BTreeMap<Place, Function>,
    place: Place,
    rounding: u32,
    depth: u32,
) -> Result<(u32, Vec<(String, u32)>)> {
    /// Frames that the verifier allows (include/linux/bpf_verifier.h, `MAX_CALL_FRAMES`).
    const MAX_FRAMES: u32 = 8;
    let function = functions
        .get(&place)
        .context("a call leads to no function")?;
    if depth >= MAX_FRAMES {
        bail!(
            "{} is called more than {MAX_FRAMES} calls deep",
            function.name
        );
    }
    let mut most = (0, Vec::new());
    for &callee in &function.calls {
        let below = deepest(functions, callee, rounding, depth + 1)?;
        if below.0 > most.0 {
            most = below;
        }
    }
    let own = function.frame.max(1).next_multiple_of(rounding);
    most.1.insert(0, (function.name.clone(), function.frame));
    Ok((own + most.0, most.1))
}

fn functions(file: &object::File<'_>) -> Result<BTreeMap<Place, Function>> {
    let mut functions = BTreeMap::new();
    for symbol in file.symbols() {
        if symbol.kind() != SymbolKind::Text || symbol.size() == 0 {
            continue;
        }
        let index = symbol
            .section_index()
            .context("a function without a section")?;
        let section = file.section_by_index(index)?;
        let (from, size) = (symbol.address() as usize, symbol.size() as usize);
        let code = section.data()?.get(from..from + size);
        let code = code.context("a function beyond its section")?;
        let function = Function {
            name: symbol.name()?.to_owned(),
            frame: frame(code),
            instructions: size / INSTRUCTION,
            calls: calls(file, &section, symbol.address(), code)?,
        };
        functions.insert((index.0, symbol.address()), function);
    }
    Ok(functions)
}

/// The places that a function calls, or has called back.
fn calls(
    file: &object::File<'_>,
    section: &object::Section<'_, '_>,
    from: u64,
    code: &[u8],
) -> Result<Vec<Place>> {
    let relocations: HashMap<u64, _> = section.relocations().collect();
    let mut calls = Vec::new();
    for (index, instruction) in code.chunks_exact(INSTRUCTION).enumerate() {
        let at = from + (index * INSTRUCTION) as u64;
        let (is_call, is_address) = (
            instruction[0] == CALL && instruction[1] >> 4 == PSEUDO_CALL,
            instruction[0] == LOAD_WIDE,
        );
        let immediate = i64::from(i32::from_le_bytes([
            instruction[4],
            instruction[5],
            instruction[6],
            instruction[7],
        ]));
        let relative = (immediate + 1) * INSTRUCTION as i64;
        match relocations.get(&at).map(|relocation| relocation.target()) {
            Some(RelocationTarget::Symbol(index)) if is_call || is_address => {
                let symbol = file.symbol_by_index(index)?;
                let Some(section) = symbol.section_index() else {
                    continue;
                };
                let offset = match (symbol.kind(), is_call) {
                    (SymbolKind::Text, _) => symbol.address(),
                    (SymbolKind::Section, true) => relative as u64,
                    (SymbolKind::Section, false) => immediate as u64,
                    _ => continue,
                };
                if file.section_by_index(section)?.kind() == object::SectionKind::Text {
                    calls.push((section.0, offset));
                }
            }
            None if is_call => {
                calls.push((section.index().0, at.wrapping_add_signed(relative)));
            }
            _ => {}
        }
    }
    Ok(calls)
}

const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
const LOAD_WIDE: u8 = 0x18;

/// Bytes of stack that a function uses: the lowest place below the frame pointer (r10) that
/// it stores to, loads from, or makes the address of.
fn frame(code: &[u8]) -> u32 {
    const FRAME: u8 = 10;
    const MOVE: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut lowest = 0i32;
    let mut from_frame = [false; 16];
    for instruction in code.chunks_exact(INSTRUCTION) {
        let class = instruction[0] & 7;
        let (to, from) = (instruction[1] & 15, instruction[1] >> 4);
        let offset = i32::from(i16::from_le_bytes([instruction[2], instruction[3]]));
        let immediate = i32::from_le_bytes([
            instruction[4],
            instruction[5],
            instruction[6],
            instruction[7],
        ]);
        match class {
            // Loads by `from`; stores by `to`.
            1 if from == FRAME => lowest = lowest.min(offset),
            2 | 3 if to == FRAME => lowest = lowest.min(offset),
            _ => {}
        }
        match instruction[0] {
            MOVE => from_frame[to as usize] = from == FRAME,
            ADD if std::mem::take(&mut from_frame[to as usize]) => lowest = lowest.min(immediate),
            _ => {}
        }
    }
    lowest.unsigned_abs()
}

/// Fails where a program needs more than every kernel gives.
pub(crate) fn check(object: &[u8]) -> Result<()> {
    let needs = needs(object)?;
    for need in &needs {
        let chain: Vec<_> = need
            .chain
            .iter()
            .map(|(name, frame)| format!("{name} {frame}"))
            .collect();
        println!(
            "{:>22}: stack {:>3} of {LIMIT} up to Linux 6.8, {:>3} from 6.9 on; {:>5} instructions ({})",
            need.name,
            need.stack[0],
            need.stack[1],
            need.instructions,
            chain.join(" > "),
        );
    }
    let over: Vec<_> = needs
        .iter()
        .filter(|need| need.stack.iter().any(|&bytes| bytes > LIMIT))
        .map(|need| need.name.as_str())
        .collect();
    if !over.is_empty() {
        bail!("{}: more stack than {LIMIT} bytes", over.join(", "));
    }
    if let Some(need) = needs
        .iter()
        .find(|need| need.instructions > MOST_INSTRUCTIONS)
    {
        bail!("{}: more than {MOST_INSTRUCTIONS} instructions", need.name);
    }
    Ok(())
}
