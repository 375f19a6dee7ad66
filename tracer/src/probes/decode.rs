//! From bytes of the ring buffer to events. Bytes that are no event of the ABI
//! give `None`, whatever they are.

use crate::events::{Body, Captured, Event};
use crate::units::{Address, Bytes, Nanos, Pid, StackId, Tid};
use crate::unwind::StackCopy;
use tracer_ebpf as abi;
use tracer_ebpf::{Cause, Function, Header, Kind, MAX_FRAMES, Member, StackEnd, flags};

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An event.
    Event {
        /// The event.
        event: Event,
        /// Whether its stack was wanted and could not be had.
        stack_lost: bool,
    },
    /// The frames of a stack, and its copy where they are not all.
    Stack(Captured, Option<Box<StackCopy>>),
}

/// Types of the ABI: integers only, for which any bytes are a value.
///
/// # Safety
/// The type must be `repr(C)`, of integers, without padding.
unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ident),*) => {$(
        // SAFETY: as the ABI's documentation says, and its size asserts.
        unsafe impl Plain for abi::$name {}
    )*};
}
plain!(
    Header, Alloc, Free, Realloc, Map, Range, Remap, Advise, Returned, Resident, Fork, End, Began,
    Stack, StackCopy
);

fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: there are enough bytes, and any bytes are a value of a plain type.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Decodes one record.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Record> {
    let header: Header = read(bytes)?;
    let kind = Kind::from_number(header.kind)?;
    if kind == Kind::Stack {
        return stack(bytes, &header);
    }
    let event = Event {
        time: Nanos(header.time_ns),
        pid: Pid(header.pid),
        tid: Tid(header.tid),
        stack: StackId(header.stack),
        in_allocator: header.flags & flags::IN_ALLOCATOR != 0,
        body: body(kind, bytes)?,
    };
    let stack_lost = header.flags & flags::STACK_LOST != 0;
    Some(Record::Event { event, stack_lost })
}

fn stack(bytes: &[u8], header: &Header) -> Option<Record> {
    let head: abi::Stack = read(bytes)?;
    let count = head.count as usize;
    if count > MAX_FRAMES {
        return None;
    }
    let frames = bytes.get(size_of::<abi::Stack>()..)?.get(..count * 8)?;
    let frames = frames.as_chunks::<8>().0.iter();
    let captured = Captured {
        id: StackId(header.stack),
        pid: Pid(header.pid),
        time: Nanos(header.time_ns),
        end: StackEnd::from_number(head.end)?,
        frames: frames
            .map(|&word| Address(u64::from_ne_bytes(word)))
            .collect(),
    };
    let copy = match head.copied {
        0 => None,
        _ => Some(Box::new(copy(bytes)?)),
    };
    Some(Record::Stack(captured, copy))
}

/// The copy that follows the room for frames.
fn copy(bytes: &[u8]) -> Option<StackCopy> {
    let bytes = bytes.get(size_of::<abi::Stack>() + MAX_FRAMES * 8..)?;
    let head: abi::StackCopy = read(bytes)?;
    let bytes = bytes.get(size_of::<abi::StackCopy>()..)?;
    Some(StackCopy {
        sp: head.sp,
        bp: head.bp,
        at_entry: head.at_entry != 0,
        holes: head.holes,
        trampoline: head.trampoline,
        registers: head.registers,
        bytes: bytes.get(..head.size as usize)?.to_vec(),
    })
}

fn body(kind: Kind, bytes: &[u8]) -> Option<Body> {
    Some(match kind {
        // User space's own.
        Kind::CheckBegin | Kind::Present | Kind::CheckEnd | Kind::Usage => return None,
        Kind::Stack => return None,
        Kind::Alloc | Kind::Free | Kind::ReallocEnter | Kind::ReallocExit => heap(kind, bytes)?,
        Kind::Map
        | Kind::Unmap
        | Kind::RemapEnter
        | Kind::RemapExit
        | Kind::Break
        | Kind::Advise
        | Kind::ShmAttach
        | Kind::ShmDetach => mapping(kind, bytes)?,
        Kind::Returned => {
            let returned: abi::Returned = read(bytes)?;
            Body::Returned {
                syscall: u16::try_from(returned.syscall).ok()?,
                errno: returned.errno,
                took: Nanos(returned.took),
            }
        }
        Kind::Resident => resident(bytes)?,
        Kind::Written => {
            let written: abi::Range = read(bytes)?;
            Body::Written {
                address: Address(written.address),
            }
        }
        Kind::Began => {
            let began: abi::Began = read(bytes)?;
            Body::Began {
                mapped: Bytes(began.mapped),
                stack: Bytes(began.stack),
            }
        }
        Kind::Fork => {
            let fork: abi::Fork = read(bytes)?;
            Body::Fork {
                child: Pid(fork.child),
                shares_memory: fork.shares_memory != 0,
            }
        }
        Kind::Exec => {
            let end: abi::End = read(bytes)?;
            Body::Exec { counts: end.counts }
        }
        Kind::Exit => {
            let end: abi::End = read(bytes)?;
            Body::Exit {
                status: end.status,
                counts: end.counts,
            }
        }
    })
}

fn heap(kind: Kind, bytes: &[u8]) -> Option<Body> {
    Some(match kind {
        Kind::Free => {
            let free: abi::Free = read(bytes)?;
            Body::Free {
                address: Address(free.address),
            }
        }
        Kind::ReallocEnter => {
            let realloc: abi::Realloc = read(bytes)?;
            Body::ReallocEnter {
                address: Address(realloc.address),
                size: Bytes(realloc.size),
            }
        }
        _ => {
            let alloc: abi::Alloc = read(bytes)?;
            let function = Function::from_number(alloc.function)?;
            let (address, size) = (Address(alloc.address), Bytes(alloc.size));
            match kind {
                Kind::Alloc => Body::Alloc {
                    function,
                    address,
                    size,
                },
                _ => Body::ReallocExit {
                    function,
                    address,
                    size,
                },
            }
        }
    })
}

fn mapping(kind: Kind, bytes: &[u8]) -> Option<Body> {
    match kind {
        Kind::Map => read(bytes).map(map),
        Kind::RemapEnter => read(bytes).map(remap),
        Kind::Advise => read(bytes).map(advise),
        _ => range(kind, read(bytes)?),
    }
}

fn map(map: abi::Map) -> Body {
    Body::Map {
        address: Address(map.address),
        length: Bytes(map.length),
        offset: map.offset,
        prot: map.prot,
        flags: map.flags,
        fd: map.fd,
    }
}

fn remap(remap: abi::Remap) -> Body {
    Body::RemapEnter {
        address: Address(remap.address),
        length: Bytes(remap.length),
        new_length: Bytes(remap.new_length),
        flags: remap.flags,
    }
}

fn advise(advise: abi::Advise) -> Body {
    Body::Advise {
        address: Address(advise.address),
        length: Bytes(advise.length),
        advice: advise.advice,
    }
}

fn range(kind: Kind, range: abi::Range) -> Option<Body> {
    let (address, length) = (Address(range.address), Bytes(range.length));
    Some(match kind {
        Kind::Unmap => Body::Unmap { address, length },
        Kind::RemapExit => Body::RemapExit { address, length },
        Kind::Break => Body::Break { address },
        Kind::ShmAttach => Body::ShmAttach {
            address,
            segment: range.length,
            length: Bytes::ZERO,
        },
        Kind::ShmDetach => Body::ShmDetach { address },
        _ => return None,
    })
}

fn resident(bytes: &[u8]) -> Option<Body> {
    let resident: abi::Resident = read(bytes)?;
    Some(Body::Resident {
        member: Member::from_number(resident.member)?,
        size: Bytes(resident.size),
        cause: Cause::from_number(resident.cause)?,
        address: Address(resident.address),
        took: Nanos(resident.took),
        error_code: resident.error_code,
        syscall: resident.syscall,
    })
}
