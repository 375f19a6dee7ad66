//! The system calls behind `attach`: bpf(2) and perf_event_open(2).

use super::super::bpf::{bpf_fd, load_code, perf_event_open, zeroed_attr};
use super::Scope;
use aya_obj::generated as abi;
use std::ffi::CStr;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Loads a kprobe program that returns 0, to ask what the kernel makes of it.
pub(super) fn load_empty(expected_attach_type: u32) -> io::Result<OwnedFd> {
    // mov64 r0, 0; exit
    let kind = abi::bpf_prog_type::BPF_PROG_TYPE_KPROBE;
    load_code(&[0xb7, 0x95], kind, expected_attach_type)
}

/// A link that runs a program at offsets of a file; pid 0 stands for everyone.
pub(super) fn create_multi(
    program: BorrowedFd<'_>,
    path: &CStr,
    offsets: &[u64],
    cookies: &[u64],
    returns: bool,
    pid: i32,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: every variant of the unions is plain data, all zero so far.
    unsafe {
        let create = &mut attr.link_create;
        create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
        create.attach_type = abi::bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
        let multi = &mut create.__bindgen_anon_3.uprobe_multi;
        multi.path = path.as_ptr() as u64;
        multi.offsets = offsets.as_ptr() as u64;
        if !cookies.is_empty() {
            multi.cookies = cookies.as_ptr() as u64;
        }
        multi.cnt = offsets.len() as u32;
        multi.flags = match returns {
            true => abi::BPF_F_UPROBE_MULTI_RETURN,
            false => 0,
        };
        multi.pid = pid as u32;
    }
    bpf_fd(abi::bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// A link that runs a program at a perf event.
pub(super) fn create_perf(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: every variant of the unions is plain data, all zero so far.
    unsafe {
        let create = &mut attr.link_create;
        create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
        create.__bindgen_anon_2.target_fd = event.as_raw_fd() as u32;
        create.attach_type = abi::bpf_attach_type::BPF_PERF_EVENT as u32;
        create.__bindgen_anon_3.perf_event.bpf_cookie = cookie;
    }
    bpf_fd(abi::bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// A perf event for a uprobe at an offset of a file.
pub(super) fn open_uprobe(
    path: &CStr,
    offset: u64,
    returns: bool,
    scope: Scope,
) -> io::Result<OwnedFd> {
    const DEVICE: &str = "/sys/bus/event_source/devices/uprobe";
    let number = |name: &str, prefix: &str| {
        let text = std::fs::read_to_string(format!("{DEVICE}/{name}"))?;
        let digits = text.trim().trim_start_matches(prefix).parse::<u32>();
        digits.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    };
    // SAFETY: plain data, for which all zero is "nothing asked for".
    let mut attr: abi::perf_event_attr = unsafe { zeroed() };
    attr.size = size_of::<abi::perf_event_attr>() as u32;
    attr.type_ = number("type", "")?;
    attr.config = u64::from(returns) << number("format/retprobe", "config:")?.min(63);
    attr.__bindgen_anon_3.uprobe_path = path.as_ptr() as u64;
    attr.__bindgen_anon_4.probe_offset = offset;
    let (pid, cpu) = match scope {
        Scope::Process(pid) => (pid.0 as i32, -1),
        // Its cpu does not matter: the program runs wherever the probe is hit.
        Scope::Everyone => (-1, 0),
    };
    perf_event_open(&attr, pid, cpu)
}

#[cfg(test)]
#[path = "sys_tests.rs"]
pub(super) mod tests;
