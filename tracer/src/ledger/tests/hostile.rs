//! What no kernel would send: the ledger may say nonsense about it, but says it soon.

use super::*;
use proptest::prelude::*;

/// Numbers that arithmetic likes least.
fn number() -> impl Strategy<Value = u64> {
    let edges = [
        0,
        1,
        4095,
        4096,
        4097,
        1 << 47,
        (1 << 47) - 4096,
        1 << 56,
        (1 << 56) - 4096,
        u64::MAX,
        u64::MAX - 4095,
    ];
    prop_oneof![
        prop::sample::select(edges.to_vec()),
        any::<u64>(),
        (0..64_u64).prop_map(|n| n << 12)
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let numbers = (
        number(),
        number(),
        number(),
        any::<u32>(),
        any::<u16>(),
        0..29_u8,
        0..20_usize,
    );
    numbers.prop_map(|(a, b, c, x, y, what, pick)| {
        let (address, size, length, function) = (Address(a), Bytes(b), Bytes(b), Function::Realloc);
        let counts = KernelCounts {
            resident_peak: b,
            virtual_peak: c,
            stack: 7,
        };
        let members = [
            RssCounter::File,
            RssCounter::Anon,
            RssCounter::Swap,
            RssCounter::Shmem,
        ];
        let causes = [
            Cause::UserFault,
            Cause::KernelFault,
            Cause::Syscall,
            Cause::Remote,
            Cause::End,
        ];
        match what {
            0 => Body::Alloc {
                function,
                address,
                size,
            },
            1 => Body::Free { address },
            2 => Body::ReallocEnter { address, size },
            3 => Body::ReallocExit {
                function,
                address,
                size,
            },
            4..7 => Body::Map {
                address,
                length,
                offset: c,
                prot: x,
                flags: x,
                fd: x as i32,
            },
            7 => Body::Unmap { address, length },
            8 => Body::RemapEnter {
                address,
                length,
                new_length: Bytes(c),
                flags: c,
            },
            9 => Body::RemapExit { address, length },
            10 => Body::Break { address },
            11..13 => Body::Advise {
                address,
                length,
                advice: x % 32,
            },
            13 => Body::ShmAttach {
                address,
                segment: b,
                length: Bytes(c),
            },
            14 => Body::ShmDetach { address },
            15 => Body::Returned {
                syscall: [11, 28, 67, 9, y][pick % 5],
                errno: [0, x as i32][pick % 2],
                took: Nanos(c),
            },
            16 => Body::Fork {
                child: Pid(x % 4),
                shares_memory: y.is_multiple_of(2),
            },
            17 => Body::Exec { counts },
            18 => Body::Exit { status: x, counts },
            19 => Body::Began {
                mapped: Bytes(a),
                stack: Bytes(b),
            },
            20..22 => Body::CheckBegin,
            22..24 => Body::Present {
                address,
                length,
                member: members[pick % 4],
            },
            24 => Body::CheckEnd,
            25 => Body::Usage {
                user: Nanos(a),
                system: Nanos(b),
            },
            _ => Body::Resident {
                member: members[pick % 4],
                size,
                cause: causes[pick % 5],
                address,
                took: None,
                error_code: y,
                syscall: [9, 28, y][pick % 3],
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(events in prop::collection::vec((body(), 0..4_u32, 0..4_u32, number(), number(), any::<bool>()), 1..300)) {
        let mut ledger = Ledger::new();
        for (body, pid, tid, stack, time, in_allocator) in events {
            let (pid, tid, stack, time) = (Pid(pid), Tid(tid), StackId(stack), Nanos(time));
            ledger.apply(&Event { time, pid, tid, stack, in_allocator, body });
            assert!(ledger.totals().events > 0);
        }
        drop(ledger.finish());
    }
}

/// A mapping of the whole address space costs what one of a page costs: a million of them
/// pass at once, touched here and there, discarded, moved and unmapped.
#[test]
fn lengths_cost_nothing() {
    let mut story = Story::new();
    let me = By(1, 1, 1);
    let all = (1 << 47) - 2 * PAGE;
    for i in 0..100_000 {
        story.map(me, PAGE, all);
        story.touch(me, PAGE * (1 + i * 1000), PAGE);
        story.advise(me, PAGE, all, libc::MADV_DONTNEED);
        story.remap(me, (PAGE, all), (2 * PAGE, all), 1);
        story.unmap(me, PAGE, all + PAGE);
    }
    assert_eq!(story.ledger.totals().reserved, Bytes(0));
    assert_eq!(story.finish().oddities, Default::default());
}

/// A child for each of ten thousand: what ended before the peak is let go.
#[test]
fn processes_come_and_go() {
    let mut story = Story::new();
    for pid in 2..10_000 {
        story.event(
            By(1, 1, 1),
            false,
            Body::Fork {
                child: Pid(pid),
                shares_memory: false,
            },
        );
        story.alloc(By(pid, pid, 2), 0x1000, u64::from(pid));
        story.exit(pid);
    }
    let account = story.finish();
    assert_eq!(reserved(&account.reserved_peak), [(2, 9_999)]);
    assert_eq!(account.processes.len(), 9_999);
}
