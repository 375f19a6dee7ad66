//! A BPF program that counts, and its map, for the tests of `attach`.

use super::*;
use crate::probes::bpf::bpf;

/// An array of `entries` 64-bit counters.
pub(in super::super) fn array_map(entries: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: every variant of the union is plain data, all zero so far.
    let map = unsafe { &mut attr.__bindgen_anon_1 };
    map.map_type = abi::bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
    map.key_size = 4;
    map.value_size = 8;
    map.max_entries = entries;
    bpf_fd(abi::bpf_cmd::BPF_MAP_CREATE, &mut attr)
}

/// One counter.
pub(in super::super) fn lookup(map: BorrowedFd<'_>, key: u32) -> io::Result<u64> {
    let mut value = 0_u64;
    let mut attr = zeroed_attr();
    // SAFETY: the union is zeroed, which every variant allows.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = map.as_raw_fd() as u32;
    element.key = &raw const key as u64;
    element.__bindgen_anon_1.value = &raw mut value as u64;
    bpf(abi::bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr)?;
    Ok(value)
}

/// A program that adds 1 to the counter that its attach cookie chooses.
pub(in super::super) fn load_counter(kind: u32, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let insn = |code: u8, dst: u8, src: u8, off: i16, imm: i32| {
        u64::from(code)
            | u64::from(src << 4 | dst) << 8
            | u64::from(off as u16) << 16
            | u64::from(imm as u32) << 32
    };
    const GET_ATTACH_COOKIE: i32 = 174;
    const MAP_LOOKUP_ELEM: i32 = 1;
    let code = [
        insn(0x85, 0, 0, 0, GET_ATTACH_COOKIE),
        insn(0x63, 10, 0, -4, 0),             // *(u32 *)(r10 - 4) = r0
        insn(0x18, 1, 1, 0, map.as_raw_fd()), // r1 = map
        0,
        insn(0xbf, 2, 10, 0, 0), // r2 = r10
        insn(0x07, 2, 0, 0, -4), // r2 -= 4
        insn(0x85, 0, 0, 0, MAP_LOOKUP_ELEM),
        insn(0x15, 0, 0, 2, 0), // if r0 == 0 skip 2
        insn(0xb7, 1, 0, 0, 1), // r1 = 1
        insn(0xdb, 0, 1, 0, 0), // lock *(u64 *)r0 += r1
        insn(0xb7, 0, 0, 0, 0), // r0 = 0
        insn(0x95, 0, 0, 0, 0),
    ];
    load_code(&code, abi::bpf_prog_type::BPF_PROG_TYPE_KPROBE, kind)
}
