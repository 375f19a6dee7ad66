//! Random sequences of all operations, against the naive ledger.

use super::naive::{MADVISE, Naive, POPULATE, Picture};
use super::*;
use proptest::prelude::*;

/// Where it all happens: a few pages, so that everything meets everything.
pub(super) const BASE: u64 = 0x10_0000_0000;
const REGION: u64 = 48;

/// Numbers from which an operation is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    what: u8,
    pid: u32,
    tid: u32,
    stack: u64,
    page: u64,
    other: u64,
    count: u64,
    bytes: u64,
    pick: usize,
}

pub(super) fn ops(length: usize) -> impl Strategy<Value = Vec<Op>> {
    let who = (0..100_u8, 1..4_u32, 1..4_u32, 1..7_u64);
    let place = (
        0..REGION,
        0..REGION,
        1..16_u64,
        1..3 * PAGE,
        0..10_000_usize,
    );
    let op = (who, place).prop_map(
        |((what, pid, tid, stack), (page, other, count, bytes, pick))| Op {
            what,
            pid,
            tid,
            stack,
            page,
            other,
            count,
            bytes,
            pick,
        },
    );
    prop::collection::vec(op, 1..length)
}

/// Both ledgers, fed with the same.
pub(super) struct Pair {
    pub(super) story: Story,
    naive: Naive,
    alive: Vec<u32>,
    /// Process and thread of every move under way.
    moving: Vec<(u32, u32)>,
    /// Vforked children and in whose memory they run.
    sharing: Vec<(u32, u32)>,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self {
            story: Story::new(),
            naive: Naive::default(),
            alive: vec![1],
            moving: Vec::new(),
            sharing: Vec::new(),
        }
    }

    fn event(&mut self, op: Op, in_allocator: bool, body: Body) {
        let by = By(op.pid, op.tid, op.stack);
        self.story.event(by, in_allocator, body);
        self.naive.apply(&Event {
            time: Nanos(0),
            pid: Pid(by.0),
            tid: Tid(by.1),
            stack: StackId(by.2),
            in_allocator,
            body,
        });
    }

    pub(super) fn apply(&mut self, op: Op) {
        if !self.alive.contains(&op.pid) {
            return;
        }
        let at = |page: u64| Address(BASE + page * PAGE);
        let (page, whole) = (at(op.page), Bytes(op.count * PAGE));
        // Blocks in steps of 16 bytes, often at the same places.
        let block = Address(page.0 + 16 * (op.pick as u64 % 4));
        let (size, function) = (Bytes(op.bytes), Function::Malloc);
        match op.what {
            0..14 => self.event(
                op,
                false,
                Body::Alloc {
                    function,
                    address: block,
                    size,
                },
            ),
            14..24 => self.event(op, false, Body::Free { address: block }),
            24..28 => self.event(
                op,
                false,
                Body::ReallocEnter {
                    address: block,
                    size,
                },
            ),
            28..34 => {
                let address = [block, block, Address(0)][op.pick % 3];
                let size = [size, Bytes(0)][op.pick / 3 % 2];
                self.event(
                    op,
                    false,
                    Body::ReallocExit {
                        function,
                        address,
                        size,
                    },
                );
            }
            34..44 => {
                let kinds = [
                    (ANON, -1),
                    (ANON, -1),
                    (PRIVATE, 3),
                    (SHARED, 3),
                    (ANON | GROWSDOWN, -1),
                ];
                let (flags, fd) = kinds[op.pick % 5];
                let length = [whole, Bytes(op.bytes)][op.pick / 5 % 2];
                let body = Body::Map {
                    address: page,
                    length,
                    offset: 0,
                    prot: PROT_RW,
                    flags,
                    fd,
                };
                self.event(op, op.pick.is_multiple_of(6), body);
            }
            44..52 => {
                let body = match op.pick % 3 {
                    0 => Body::Advise {
                        address: page,
                        length: whole,
                        advice: [
                            libc::MADV_DONTNEED as u32,
                            libc::MADV_REMOVE as u32,
                            POPULATE,
                            libc::MADV_DONTFORK as u32,
                            libc::MADV_WIPEONFORK as u32,
                            libc::MADV_DOFORK as u32,
                        ][op.pick / 3 % 6],
                    },
                    1 if op.pick.is_multiple_of(4) => Body::ShmAttach {
                        address: page,
                        segment: 1,
                        length: [whole, Bytes(0)][op.pick / 12 % 2],
                    },
                    1 if op.pick.is_multiple_of(5) => Body::ShmDetach { address: page },
                    _ => Body::Unmap {
                        address: page,
                        length: whole,
                    },
                };
                self.event(op, false, body);
                let errno = [libc::EINVAL, libc::ENOMEM, 0, 0][op.pick / 18 % 4];
                let syscall = match body {
                    Body::Advise { .. } => MADVISE,
                    Body::ShmAttach { .. } => 30,
                    Body::ShmDetach { .. } => 67,
                    _ => 11,
                };
                if !(op.pick / 12).is_multiple_of(8) {
                    let took = Nanos(1);
                    self.event(
                        op,
                        false,
                        Body::Returned {
                            syscall,
                            errno,
                            took,
                        },
                    );
                }
            }
            52..55 => self.event(
                op,
                op.pick.is_multiple_of(2),
                Body::Break {
                    address: at(op.other),
                },
            ),
            55..60 => self.begin_move(op, page, whole),
            60..66 => self.end_move(op, at(op.other)),
            66..68 => self.process(op),
            68..71 => self.event(op, false, Body::Written { address: page }),
            _ => self.counter(op, page),
        }
    }

    fn begin_move(&mut self, op: Op, address: Address, length: Bytes) {
        self.moving.push((op.pid, op.tid));
        let length = if op.pick.is_multiple_of(7) {
            Bytes(0)
        } else {
            length
        };
        let body = Body::RemapEnter {
            address,
            length,
            new_length: length,
            flags: 1,
        };
        self.event(op, false, body);
    }

    fn end_move(&mut self, op: Op, to: Address) {
        let Some(at) = self
            .moving
            .iter()
            .position(|&(pid, tid)| (pid, tid) == (op.pid, op.tid))
        else {
            // The whole call at once, to a place that keeps clear of the old one.
            let (address, length) = (Address(BASE + op.page * PAGE), Bytes(op.count * PAGE));
            let flags = 1 | if op.pick.is_multiple_of(2) { 4 } else { 0 };
            self.event(
                op,
                false,
                Body::RemapEnter {
                    address,
                    length,
                    new_length: length,
                    flags,
                },
            );
            let address = Address(BASE + (REGION + 16 + op.other) * PAGE);
            self.event(
                op,
                false,
                Body::RemapExit {
                    address,
                    length: Bytes(op.bytes),
                },
            );
            return;
        };
        self.moving.remove(at);
        let address = if op.pick.is_multiple_of(3) {
            Address(0)
        } else {
            to
        };
        self.event(
            op,
            op.pick.is_multiple_of(2),
            Body::RemapExit {
                address,
                length: Bytes(op.bytes),
            },
        );
    }

    fn process(&mut self, op: Op) {
        let other = op.tid;
        let counts = KernelCounts::default();
        // The kernel lets a process sleep until its vforked child has memory of its own.
        if self.sharing.iter().any(|&(_, owner)| owner == op.pid) {
            return;
        }
        if op.pick % 4 < 2 && self.alive.len() > 1 {
            self.sharing.retain(|&(child, _)| child != op.pid);
        }
        match op.pick % 4 {
            0 if self.alive.len() > 1 => {
                self.alive.retain(|&pid| pid != op.pid);
                self.moving.retain(|&(pid, _)| pid != op.pid);
                self.event(op, false, Body::Exit { status: 0, counts });
            }
            1 => {
                self.moving.retain(|&(pid, _)| pid != op.pid);
                self.event(op, false, Body::Exec { counts });
            }
            _ if !self.alive.contains(&other) && self.moving.is_empty() => {
                self.alive.push(other);
                let shares_memory = op.pick.is_multiple_of(3);
                if shares_memory {
                    self.sharing.push((other, op.pid));
                }
                self.event(
                    op,
                    false,
                    Body::Fork {
                        child: Pid(other),
                        shares_memory,
                    },
                );
            }
            _ => {}
        }
    }

    fn counter(&mut self, op: Op, page: Address) {
        let member = [
            RssCounter::Anon,
            RssCounter::Anon,
            RssCounter::File,
            RssCounter::Shmem,
        ][op.pick % 4];
        let moved = [1, 1, 1, 1, 2, 4, 7, 16, 512, 0, -1, -5, -20][op.pick / 4 % 13];
        let causes = [
            Cause::UserFault,
            Cause::UserFault,
            Cause::KernelFault,
            Cause::Remote,
            Cause::Syscall,
            Cause::End,
            Cause::Kernel,
        ];
        let count = self.naive.count(op.pid, member);
        let size = Bytes(count.saturating_add_signed(moved * PAGE as i64));
        let body = Body::Resident {
            member,
            size,
            cause: causes[op.pick / 52 % 7],
            address: Address(page.0 + op.bytes % PAGE),
            took: None,
            error_code: [6, 4, 7][op.pick % 3],
            syscall: 200,
        };
        self.event(op, op.pick.is_multiple_of(5), without_fault(op, body));
    }
}

/// A call without a fault: one of which no place is known, one that fills a buffer, one that
/// populates what it was told to, those that populate what they make.
fn without_fault(op: Op, body: Body) -> Body {
    let Body::Resident {
        member,
        size,
        cause: Cause::Syscall,
        address,
        ..
    } = body
    else {
        return body;
    };
    let nowhere = Address(0);
    let (address, syscall) = [
        (nowhere, 200),
        (address, 0),
        (nowhere, MADVISE),
        (nowhere, 9),
        (nowhere, 9),
        (nowhere, 12),
        (nowhere, 25),
    ][op.pick / 312 % 7];
    Body::Resident {
        member,
        size,
        cause: Cause::Syscall,
        address,
        took: None,
        error_code: 0,
        syscall,
    }
}

/// As many as `PROPTEST_CASES` says, for a longer look than the tests take.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(1000)
}

fn compare(what: &str, snapshot: &Snapshot, total: Bytes, picture: &Picture) {
    consistent(snapshot);
    assert_eq!(total, Bytes(picture.total), "{what}");
    assert_eq!(reserved(snapshot), picture.reserved, "{what}");
    let mut known = join(snapshot);
    known.retain(|&(owner, toucher, _)| (owner, toucher) != (Reserver::Unknown, 0));
    assert_eq!(known, picture.join, "{what}");
    let attributed: u64 = picture.join.iter().map(|entry| entry.2).sum();
    assert_eq!(
        snapshot.unexplained,
        snapshot.resident.0 as i64 - attributed as i64,
        "{what}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_same_as_the_naive_ledger(ops in ops(160)) {
        let mut pair = Pair::new();
        ops.into_iter().for_each(|op| pair.apply(op));
        let account = pair.story.ledger.finish();
        let [reserved, resident] = pair.naive.pictures();
        compare("reserved", &account.reserved_peak, account.reserved_peak.reserved, &reserved);
        compare("resident", &account.resident_peak, account.resident_peak.resident, &resident);
    }
}
