//! Bytes as events.

use tracer::events::{Body, Cause, Event, Function, KernelCounts, RssCounter};
use tracer::units::{Address, Bytes, Nanos, Pid, StackId, Tid};

/// Bytes that an event is made of.
const EVENT: usize = 16;

/// The most that one input makes: the ledger's time is bounded by their number.
const MOST: usize = 4096;

/// Reads events, one after the other.
pub fn read(data: &[u8]) -> impl Iterator<Item = Event> + '_ {
    data.chunks_exact(EVENT)
        .take(MOST)
        .enumerate()
        .map(|(index, bytes)| Event {
            time: Nanos(index as u64),
            pid: Pid(u32::from(bytes[1] % 4)),
            tid: Tid(u32::from(bytes[1] / 4 % 4)),
            stack: StackId(u64::from(bytes[2] % 8)),
            in_allocator: bytes[2] >= 128,
            body: body(bytes),
        })
}

/// An address: mostly among few pages, so that everything meets everything.
fn place(how: u8, word: u16) -> u64 {
    let near = 0x10_0000_0000 + u64::from(word) * 64;
    match how % 8 {
        0 => u64::from(word) << 48 | 0xfff,
        1 => u64::MAX - u64::from(word),
        2 => u64::from(word),
        3 | 4 => near & !0xfff,
        _ => near,
    }
}

fn body(bytes: &[u8]) -> Body {
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let address = Address(place(bytes[3], word(4)));
    let amount = match bytes[6] % 4 {
        // No sum of these reaches what no machine has.
        0 => place(bytes[7], word(8)) & ((1 << 47) - 1),
        1 => u64::from(word(8)) << 12,
        _ => u64::from(word(8)),
    };
    let (size, length) = (Bytes(amount), Bytes(amount));
    let number = u32::from(word(10));
    let counts = KernelCounts {
        resident_peak: amount,
        virtual_peak: address.0,
        stack: u64::from(word(8)),
    };
    let function = Function::Malloc;
    match bytes[0] % 24 {
        0 | 1 => Body::Alloc {
            function,
            address,
            size,
        },
        2 => Body::Free { address },
        3 => Body::ReallocEnter { address, size },
        4 => Body::ReallocExit {
            function,
            address,
            size,
        },
        5 | 6 => Body::Map {
            address,
            length,
            offset: u64::from(number),
            prot: 3,
            flags: [0x22, 0x02, 0x01, number][usize::from(bytes[12] % 4)],
            fd: i32::from(bytes[13]) - 1,
        },
        7 => Body::Unmap { address, length },
        8 => Body::RemapEnter {
            address,
            length,
            new_length: Bytes(place(bytes[12], word(13))),
            flags: u64::from(number),
        },
        9 => Body::RemapExit { address, length },
        10 => Body::Break { address },
        11 => Body::Advise {
            address,
            length,
            advice: number % 32,
        },
        12 => Body::ShmAttach {
            address,
            segment: u64::from(number),
            length,
        },
        13 => Body::ShmDetach { address },
        14 => Body::Returned {
            syscall: [11, 28, 67, 9, word(10)][usize::from(bytes[12] % 5)],
            errno: i32::from(bytes[13]),
            took: Nanos(amount),
        },
        15 => Body::Fork {
            child: Pid(number % 4),
            shares_memory: bytes[12].is_multiple_of(2),
        },
        16 if bytes[12].is_multiple_of(2) => Body::Exec { counts },
        16 => Body::Exit {
            status: number,
            counts,
        },
        17 => Body::CheckBegin,
        18 => Body::Present {
            address,
            length,
            member: member(bytes[12]),
        },
        19 => Body::CheckEnd,
        20 => Body::Began {
            mapped: size,
            stack: Bytes(u64::from(number)),
        },
        _ => Body::Resident {
            member: member(bytes[12]),
            size,
            cause: [
                Cause::UserFault,
                Cause::KernelFault,
                Cause::Syscall,
                Cause::Remote,
                Cause::End,
            ][usize::from(bytes[13] % 5)],
            address,
            error_code: word(14),
            syscall: word(10),
            took: None,
        },
    }
}

fn member(which: u8) -> RssCounter {
    [
        RssCounter::File,
        RssCounter::Anon,
        RssCounter::Swap,
        RssCounter::Shmem,
    ][usize::from(which % 4)]
}
