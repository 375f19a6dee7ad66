//! The calls of bpf(2) and perf_event_open(2) that aya 0.14 does not offer.

use aya_obj::generated as abi;
use std::ffi::{CStr, CString, c_int, c_long};
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What BPF_PROG_LOAD needs to know of a program.
#[derive(Debug)]
pub struct ProgramToLoad<'a> {
    /// Its name, for `bpftool`; cut to 15 bytes.
    pub name: &'a str,
    /// `BPF_PROG_TYPE_*`
    pub kind: u32,
    /// `BPF_TRACE_*`, or 0.
    pub attach_type: u32,
    /// Its licence.
    pub license: &'a CStr,
    /// Its code, relocated.
    pub code: &'a [abi::bpf_insn],
    /// Its types, see [`load_types`].
    pub types: BorrowedFd<'a>,
    /// Where its functions begin and what type they have: the verifier demands
    /// it of functions that are called back.
    pub functions: &'a [abi::bpf_func_info],
}

/// A program that the kernel refused.
#[derive(Debug)]
pub struct Refused {
    /// What the call said.
    pub error: io::Error,
    /// The end of the verifier's log; empty where it had nothing to say.
    pub log: String,
}

/// Bytes of verifier log that are asked for when a program was refused.
const LOG_BYTES: usize = 1 << 20;

/// Loads a program.
///
/// # Errors
/// [`Refused`], with the verifier's log where it was the verifier.
pub fn load(program: &ProgramToLoad<'_>) -> Result<OwnedFd, Refused> {
    let error = match try_load(program, &mut []) {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    // Once more, for the reason: writing it costs time that a program which
    // loads need not spend.
    let mut log = vec![0; LOG_BYTES];
    match try_load(program, &mut log) {
        Ok(fd) => Ok(fd),
        Err(_) => Err(Refused {
            error,
            log: tail(&log),
        }),
    }
}

fn tail(log: &[u8]) -> String {
    let text = CStr::from_bytes_until_nul(log).map_or("".into(), CStr::to_string_lossy);
    end_of_log(&text)
}

/// The last lines of a verifier's log, which can have thousands.
pub(super) fn end_of_log(log: &str) -> String {
    const LINES: usize = 12;
    let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn try_load(program: &ProgramToLoad<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: the union is zeroed, which every variant allows.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = program.kind;
    load.expected_attach_type = program.attach_type;
    load.insns = program.code.as_ptr() as u64;
    load.insn_cnt = program.code.len() as u32;
    load.license = program.license.as_ptr() as u64;
    load.prog_btf_fd = program.types.as_raw_fd() as u32;
    load.func_info = program.functions.as_ptr() as u64;
    load.func_info_cnt = program.functions.len() as u32;
    load.func_info_rec_size = size_of::<abi::bpf_func_info>() as u32;
    let room = load.prog_name.len() - 1;
    for (to, from) in load.prog_name[..room].iter_mut().zip(program.name.bytes()) {
        *to = from as _;
    }
    if !log.is_empty() {
        load.log_level = 1;
        load.log_size = log.len() as u32;
        load.log_buf = log.as_mut_ptr() as u64;
    }
    bpf_fd(abi::bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

/// Loads the types that programs refer to.
///
/// # Errors
/// What BPF_BTF_LOAD says.
pub fn load_types(btf: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: the union is zeroed, which every variant allows.
    let load = unsafe { &mut attr.__bindgen_anon_7 };
    load.btf = btf.as_ptr() as u64;
    load.btf_size = btf.len() as u32;
    bpf_fd(abi::bpf_cmd::BPF_BTF_LOAD, &mut attr)
}

/// How often the kernel skipped a program because one was already running on
/// the CPU (`recursion_misses`, Linux 5.12; 0 before).
///
/// # Errors
/// What BPF_OBJ_GET_INFO_BY_FD says.
pub fn misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: plain integers, for which zero is a value.
    let mut info: abi::bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = zeroed_attr();
    // SAFETY: the union is zeroed, which every variant allows.
    let ask = unsafe { &mut attr.info };
    ask.bpf_fd = program.as_raw_fd() as u32;
    ask.info_len = size_of::<abi::bpf_prog_info>() as u32;
    ask.info = &raw mut info as u64;
    bpf(abi::bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.recursion_misses)
}

/// Attaches a program to a classic tracepoint of every process. The result
/// holds it; the kernel drops it with the last descriptor.
///
/// # Errors
/// What perf_event_open or the ioctl says.
pub fn attach_tracepoint(program: BorrowedFd<'_>, id: u64) -> io::Result<OwnedFd> {
    let event = open_tracepoint(id)?;
    for (request, argument) in [
        (abi::PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()),
        (abi::PERF_EVENT_IOC_ENABLE, 0),
    ] {
        // SAFETY: both requests take an integer.
        if unsafe { libc::ioctl(event.as_raw_fd(), request as libc::Ioctl, argument) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(event)
}

/// An event on one CPU: the program of a tracepoint runs on all of them.
fn open_tracepoint(id: u64) -> io::Result<OwnedFd> {
    // SAFETY: plain integers, for which zero is a value.
    let mut attr: abi::perf_event_attr = unsafe { std::mem::zeroed() };
    attr.type_ = abi::perf_type_id::PERF_TYPE_TRACEPOINT as u32;
    attr.size = size_of::<abi::perf_event_attr>() as u32;
    attr.config = id;
    perf_event_open(&attr, -1, 0)
}

/// A file system of our own (`tracefs`, `sysfs`), mounted nowhere: reading it needs
/// no mount point, no namespace, and nothing to clean up.
///
/// # Errors
/// What fsopen, fsconfig or fsmount says: EPERM without CAP_SYS_ADMIN.
pub fn open_unmounted(kind: &CStr) -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: c_int = 1;
    const FSCONFIG_CMD_CREATE: c_int = 6;
    const FSMOUNT_CLOEXEC: c_int = 1;
    // SAFETY: a string that lives through the call.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    let fd = context.as_raw_fd();
    let none = std::ptr::null::<u8>();
    // SAFETY: this command takes no key and no value.
    let created =
        unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) };
    if created < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: integers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, 0) })
}

/// Reads a file below a directory.
///
/// # Errors
/// What openat or read says.
pub fn read_at(directory: BorrowedFd<'_>, path: &str) -> io::Result<Vec<u8>> {
    let path = CString::new(path)?;
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a string that lives through the call.
    let fd = unsafe { libc::openat(directory.as_raw_fd(), path.as_ptr(), flags) };
    let mut bytes = Vec::new();
    std::fs::File::from(owned(fd.into())?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Sets elements of a map that has numbered ones, many in one call. It is not only calls that this
/// saves: after each one that changes a map of maps, the kernel waits until no program can see what
/// was there before, some 10 ms. The map's elements must have the size of `T`.
///
/// # Errors
/// What BPF_MAP_UPDATE_BATCH says.
pub(super) fn update_elements<T: aya::Pod>(
    map: BorrowedFd<'_>,
    first: u32,
    values: &[T],
) -> io::Result<()> {
    let keys: Vec<u32> = (first..).take(values.len()).collect();
    let mut attr = zeroed_attr();
    // SAFETY: the union is zeroed, which every variant allows.
    let batch = unsafe { &mut attr.batch };
    batch.keys = keys.as_ptr() as u64;
    batch.values = values.as_ptr() as u64;
    batch.count = keys.len() as u32;
    batch.map_fd = map.as_raw_fd() as u32;
    bpf(abi::bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr).map(drop)
}

/// perf_event_open(2), close-on-exec and in no group.
///
/// # Errors
/// What it says.
pub(super) fn perf_event_open(
    attr: &abi::perf_event_attr,
    pid: i32,
    cpu: i32,
) -> io::Result<OwnedFd> {
    // SAFETY: the attribute is valid for the call, which only reads it.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attr,
            pid,
            cpu,
            -1,
            libc::c_ulong::from(abi::PERF_FLAG_FD_CLOEXEC),
        )
    };
    owned(fd)
}

/// Runs a program once, on this thread, and gives what it returns. From Linux 5.10 on.
pub(super) fn run_once(code: &[u64]) -> io::Result<u32> {
    let program = load_code(code, abi::bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT, 0)?;
    let mut attr = zeroed_attr();
    attr.test.prog_fd = program.as_raw_fd() as u32;
    bpf(abi::bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: a plain integer, whoever wrote it.
    Ok(unsafe { attr.test.retval })
}

/// Loads a few instructions, to ask what the kernel makes of them.
pub(super) fn load_code(
    code: &[u64],
    kind: abi::bpf_prog_type,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: the union is zeroed, which every variant allows.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = kind as u32;
    load.insn_cnt = code.len() as u32;
    load.insns = code.as_ptr() as u64;
    load.license = c"GPL".as_ptr() as u64;
    load.expected_attach_type = attach_type;
    bpf_fd(abi::bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

pub(super) fn zeroed_attr() -> abi::bpf_attr {
    // SAFETY: a union of plain integers, for which zero is a value; the kernel
    // wants unused bytes to be zero.
    unsafe { std::mem::zeroed() }
}

pub(super) fn bpf(command: abi::bpf_cmd, attr: &mut abi::bpf_attr) -> io::Result<c_long> {
    let size = size_of::<abi::bpf_attr>();
    // SAFETY: the attribute, and what the callers let it point to, live through
    // the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as c_int, attr, size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

pub(super) fn bpf_fd(command: abi::bpf_cmd, attr: &mut abi::bpf_attr) -> io::Result<OwnedFd> {
    owned(bpf(command, attr)?)
}

fn owned(fd: c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}
