//! The ledger, case by case, against a model that is too simple to be wrong, and
//! on what no kernel would send.

mod by_hand;
mod checks;
mod hostile;
mod model;
mod naive;
mod window;

use super::Ledger;
use super::account::{Account, Reserver, Snapshot};
use crate::events::{Body, Cause, Event, Function, KernelCounts, RssCounter};
use crate::units::{Address, Bytes, Nanos, Pid, StackId, Tid};

const PAGE: u64 = 4096;
const PROT_RW: u32 = 3;
const ANON: u32 = 0x22;
const STACK: u32 = 0x2_0022;
const SHARED: u32 = 0x01;
const PRIVATE: u32 = 0x02;
const FIXED: u32 = 0x10;
const GROWSDOWN: u32 = 0x100;

/// Events as a program would cause them; the counters of the kernel are kept on the way.
struct Story {
    ledger: Ledger,
    time: u64,
    counts: std::collections::HashMap<(u32, RssCounter), u64>,
    events: Vec<Event>,
}

/// Who does something: process, thread, stack.
#[derive(Clone, Copy)]
struct By(u32, u32, u64);

impl Story {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(),
            time: 0,
            counts: std::collections::HashMap::new(),
            events: Vec::new(),
        }
    }

    fn event(&mut self, By(pid, tid, stack): By, in_allocator: bool, body: Body) {
        self.time += 10;
        let event = Event {
            time: Nanos(self.time),
            pid: Pid(pid),
            tid: Tid(tid),
            stack: StackId(stack),
            in_allocator,
            body,
        };
        self.ledger.apply(&event);
        self.events.push(event);
    }

    fn alloc(&mut self, by: By, address: u64, size: u64) {
        let (address, size) = (Address(address), Bytes(size));
        self.event(
            by,
            false,
            Body::Alloc {
                function: Function::Malloc,
                address,
                size,
            },
        );
    }

    fn free(&mut self, by: By, address: u64) {
        self.event(
            by,
            false,
            Body::Free {
                address: Address(address),
            },
        );
    }

    fn realloc_enter(&mut self, by: By, address: u64, size: u64) {
        self.event(
            by,
            false,
            Body::ReallocEnter {
                address: Address(address),
                size: Bytes(size),
            },
        );
    }

    fn realloc_exit(&mut self, by: By, address: u64, size: u64) {
        let (address, size) = (Address(address), Bytes(size));
        self.event(
            by,
            false,
            Body::ReallocExit {
                function: Function::Realloc,
                address,
                size,
            },
        );
    }

    fn map(&mut self, by: By, address: u64, length: u64) {
        self.map_as(by, address, length, ANON, -1, false);
    }

    fn map_as(
        &mut self,
        by: By,
        address: u64,
        length: u64,
        flags: u32,
        fd: i32,
        in_allocator: bool,
    ) {
        let (address, length) = (Address(address), Bytes(length));
        let body = Body::Map {
            address,
            length,
            offset: 0,
            prot: PROT_RW,
            flags,
            fd,
        };
        self.event(by, in_allocator, body);
    }

    fn unmap(&mut self, by: By, address: u64, length: u64) {
        self.event(
            by,
            false,
            Body::Unmap {
                address: Address(address),
                length: Bytes(length),
            },
        );
    }

    fn remap(&mut self, by: By, old: (u64, u64), new: (u64, u64), flags: u64) {
        let (address, length, new_length) = (Address(old.0), Bytes(old.1), Bytes(new.1));
        self.event(
            by,
            false,
            Body::RemapEnter {
                address,
                length,
                new_length,
                flags,
            },
        );
        self.event(
            by,
            false,
            Body::RemapExit {
                address: Address(new.0),
                length: new_length,
            },
        );
    }

    fn advise(&mut self, by: By, address: u64, length: u64, advice: i32) {
        let (address, length, advice) = (Address(address), Bytes(length), advice as u32);
        self.event(
            by,
            false,
            Body::Advise {
                address,
                length,
                advice,
            },
        );
    }

    /// A counter of the process moves by some pages. `at` is the address, the error code of the
    /// fault and the number of the system call.
    fn moved(&mut self, by: By, member: RssCounter, pages: i64, cause: Cause, at: (u64, u16, u16)) {
        let count = self.counts.entry((by.0, member)).or_default();
        *count = count.wrapping_add_signed(pages * PAGE as i64);
        let (size, (address, error_code, syscall)) = (Bytes(*count), at);
        let address = Address(address);
        self.event(
            by,
            false,
            Body::Resident {
                member,
                size,
                cause,
                address,
                took: Some(Nanos(1)),
                error_code,
                syscall,
            },
        );
    }

    /// Writes to untouched pages of anonymous memory.
    fn touch(&mut self, by: By, address: u64, length: u64) {
        for at in (address..address + length).step_by(PAGE as usize) {
            self.moved(
                by,
                RssCounter::Anon,
                1,
                Cause::UserFault,
                (at + 7, 6, u16::MAX),
            );
        }
    }

    /// The kernel gives pages back.
    fn gone(&mut self, by: By, member: RssCounter, length: u64) {
        self.moved(
            by,
            member,
            -((length / PAGE) as i64),
            Cause::Syscall,
            (0, 0, 11),
        );
    }

    fn exit(&mut self, pid: u32) {
        let counts = KernelCounts {
            resident_peak: 1,
            virtual_peak: 2,
            stack: 7,
        };
        self.event(By(pid, pid, 0), false, Body::Exit { status: 0, counts });
    }

    fn finish(self) -> Account {
        let account = self.ledger.finish();
        [&account.reserved_peak, &account.resident_peak]
            .into_iter()
            .for_each(consistent);
        account
    }
}

/// The sums that every snapshot promises.
fn consistent(snapshot: &Snapshot) {
    assert_eq!(snapshot.reserved, snapshot.heap + snapshot.mappings);
    assert_eq!(
        snapshot.resident,
        snapshot.anon + snapshot.file + snapshot.shmem
    );
    assert_eq!(
        snapshot
            .by_reserver
            .iter()
            .map(|entry| entry.1)
            .sum::<Bytes>(),
        snapshot.reserved
    );
    let total = snapshot.resident + Bytes(snapshot.unexplained.min(0).unsigned_abs());
    assert_eq!(
        snapshot
            .resident_by_reserver
            .iter()
            .map(|entry| entry.1)
            .sum::<Bytes>(),
        total
    );
    assert_eq!(
        snapshot
            .resident_by_toucher
            .iter()
            .map(|entry| entry.1)
            .sum::<Bytes>(),
        total
    );
    assert_eq!(
        snapshot
            .by_reserver_and_toucher
            .iter()
            .map(|entry| entry.2)
            .sum::<Bytes>(),
        total
    );
}

fn reserved(snapshot: &Snapshot) -> Vec<(u64, u64)> {
    let mut all: Vec<_> = snapshot
        .by_reserver
        .iter()
        .map(|(id, bytes)| (id.0, bytes.0))
        .collect();
    all.sort_unstable();
    all
}

fn join(snapshot: &Snapshot) -> Vec<(Reserver, u64, u64)> {
    let entries = snapshot.by_reserver_and_toucher.iter();
    let mut all: Vec<_> = entries
        .map(|&(owner, toucher, bytes)| (owner, toucher.0, bytes.0))
        .collect();
    all.sort_unstable();
    all
}

/// A stack as reserver.
fn by(stack: u64) -> Reserver {
    Reserver::Stack(StackId(stack))
}
