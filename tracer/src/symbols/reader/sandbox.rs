//! What a process gives up before it reads what others wrote.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
use std::io;

/// Bytes of address space: more than the sections of any file that is read, unpacked.
const MEMORY: u64 = 6 << 30;

/// Seconds of processor time, for all files together.
const TIME: u64 = 600;

/// What reading takes: memory, the files that were handed over, and the socket. It can open, link
/// and execute nothing, and signal nobody.
const ALLOWED: [i64; 36] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_read,
    // Where a file that was handed over stands.
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Gives up all system calls but a few, for good, and bounds memory and time.
///
/// # Errors
/// Where the kernel refuses, or has no seccomp.
pub(super) fn enter() -> io::Result<()> {
    limit(Resource::RLIMIT_AS, MEMORY)?;
    limit(Resource::RLIMIT_CPU, TIME)?;
    limit(Resource::RLIMIT_FSIZE, 0)?;
    limit(Resource::RLIMIT_CORE, 0)?;
    // It ends with the tracer, even while it reads.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    refuse_calls()
}

/// Lowers a limit, unless it is lower already: nobody may raise it again.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let most = most.min(hard);
    Ok(setrlimit(resource, most, most)?)
}

/// Gives up system calls, for this thread and what it starts.
fn refuse_calls() -> io::Result<()> {
    let rules = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    // What nobody thought of fails, as on a kernel without that call.
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch);
    let program: seccompiler::BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn what_is_open_can_be_read_and_nothing_else_be_done() {
        let file = File::open("/proc/self/exe").expect("our own file");
        let thread = std::thread::spawn(move || {
            // The kernel asks for this of whoever has no CAP_SYS_ADMIN.
            nix::sys::prctl::set_no_new_privs().expect("set");
            refuse_calls().expect("refused");
            let mut magic = [0; 4];
            file.read_exact_at(&mut magic, 0).expect("read");
            assert_eq!(&magic, b"\x7fELF");
            assert_eq!(
                file.metadata().map(|found| found.len() > 0).ok(),
                Some(true)
            );
            let denied = |error: io::Error| error.raw_os_error() == Some(libc::EPERM);
            assert!(File::open("/etc/passwd").is_err_and(denied));
            assert!(std::fs::remove_file("/nowhere").is_err_and(denied));
            let program = std::process::Command::new("true").status();
            assert!(program.is_err_and(denied));
            let server = std::net::TcpListener::bind("127.0.0.1:0");
            assert!(server.is_err_and(denied));
            // SAFETY: signal 0 is none: it only asks whether one could be sent.
            assert_eq!(unsafe { libc::kill(libc::getppid(), 0) }, -1);
        });
        thread.join().expect("all as it should be");
    }
}
