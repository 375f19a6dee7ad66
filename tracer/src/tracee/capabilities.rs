//! The tracer's own privileges, and how it gives them up.
//!
//! They are a thread's own, and what a thread starts inherits them: they are to be given up
//! before any thread is started that is to do without. `docs/privileges.md` says what each of
//! those that are kept is for.

use std::io;
use std::ops::BitOr;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// Writing to folders of other users.
    pub const DAC_OVERRIDE: Self = Self(1 << 1);
    /// Reading files of other users.
    pub const DAC_READ_SEARCH: Self = Self(1 << 2);
    /// Signals to processes of other users.
    pub const KILL: Self = Self(1 << 5);
    /// Making files as a member of another group.
    pub const SETGID: Self = Self(1 << 6);
    /// Making files as another user.
    pub const SETUID: Self = Self(1 << 7);
    /// Lengths of other users' shared memory.
    pub const IPC_OWNER: Self = Self(1 << 15);
    /// `/proc/PID/{maps,mem,pagemap,root}` of processes that have more than we.
    pub const SYS_PTRACE: Self = Self(1 << 19);
    /// Perf events and page frames, where the machine gives them for less to nobody.
    pub const SYS_ADMIN: Self = Self(1 << 21);
    /// Going before other threads.
    pub const SYS_NICE: Self = Self(1 << 23);
    /// Probes.
    pub const PERFMON: Self = Self(1 << 38);
    /// Maps and programs.
    pub const BPF: Self = Self(1 << 39);
    /// `/proc/PID/map_files`.
    pub const CHECKPOINT_RESTORE: Self = Self(1 << 40);

    /// What a trace needs once its programs are loaded: to attach probes, to read what the
    /// target maps, to pass signals on.
    pub const TRACING: Self = Self(
        Self::BPF.0
            | Self::PERFMON.0
            | Self::SYS_PTRACE.0
            | Self::CHECKPOINT_RESTORE.0
            | Self::DAC_READ_SEARCH.0
            | Self::IPC_OWNER.0
            | Self::KILL.0
            | Self::SYS_NICE.0,
    );

    /// What it takes to make reports of a recording: to reach it in a folder that is closed to
    /// others.
    pub const REPORTING: Self = Self::DAC_READ_SEARCH;

    fn holds(self, number: u32) -> bool {
        self.0 >> number & 1 != 0
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `struct __user_cap_header_struct`
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`, of which each call takes two: the lower halves, the upper.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`, this thread.
const HEADER: Header = Header {
    version: 0x2008_0522,
    pid: 0,
};

/// The highest number that a set has room for.
const MOST: u32 = 63;

/// Gives up everything but `kept`, for this thread and what it starts from now on, for good:
/// not even a program that it executed could get it back. What was not had is not gained.
///
/// # Errors
/// Where the kernel refuses, which it has no reason to.
pub fn keep_only(kept: Capabilities) -> io::Result<()> {
    let permitted = permitted()?;
    for number in 0..=MOST {
        if !kept.holds(number) {
            // Takes CAP_SETPCAP; without it, no_new_privs below does the same.
            // SAFETY: no pointers; EINVAL where there is no such capability.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        }
    }
    clear_ambient();
    // SAFETY: no pointers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    match set(Capabilities(permitted.0 & kept.0)) {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

/// What this thread may use.
///
/// # Errors
/// Where the kernel does not tell.
pub fn permitted() -> io::Result<Capabilities> {
    let mut halves = [Half::default(); 2];
    // SAFETY: the header is read (and written where its version is unknown: it is a copy);
    // there is room for both halves.
    let result = unsafe { libc::syscall(libc::SYS_capget, &mut { HEADER }, halves.as_mut_ptr()) };
    match result {
        0 => Ok(Capabilities(
            u64::from(halves[1].permitted) << 32 | u64::from(halves[0].permitted),
        )),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets what this thread has, permitted and effective; programs that it executes inherit
/// nothing. Says whether the kernel did it. Async-signal-safe.
pub(super) fn set(own: Capabilities) -> bool {
    let half = |shift: u32| Half {
        effective: (own.0 >> shift) as u32,
        permitted: (own.0 >> shift) as u32,
        inheritable: 0,
    };
    let halves = [half(0), half(32)];
    // SAFETY: the kernel reads the header, a copy, and both halves.
    unsafe { libc::syscall(libc::SYS_capset, &mut { HEADER }, halves.as_ptr()) == 0 }
}

/// Nothing is left to programs that this thread executes. Async-signal-safe.
pub(super) fn clear_ambient() {
    // SAFETY: no pointers. It can't fail but on kernels that have no ambient set.
    unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of `/proc/thread-self/status`.
    fn status(name: &str) -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let row = text.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(row.unwrap().trim_start_matches(':').trim(), 16).unwrap()
    }

    #[test]
    fn what_is_given_up_is_gone_from_every_set_of_this_thread() {
        let before = status("CapPrm");
        let kept = Capabilities::DAC_READ_SEARCH | Capabilities::KILL;
        std::thread::spawn(move || {
            keep_only(kept).unwrap();
            assert_eq!(permitted().unwrap().0, before & kept.0);
            for set in ["CapPrm", "CapEff"] {
                assert_eq!(status(set), before & kept.0, "{set}");
            }
            for set in ["CapInh", "CapAmb"] {
                assert_eq!(status(set), 0, "{set}");
            }
            assert_eq!(status("NoNewPrivs"), 1);
            let inherited = std::thread::spawn(|| status("CapPrm")).join().unwrap();
            assert_eq!(inherited, before & kept.0);
            if before & 1 << 8 != 0 {
                assert_eq!(status("CapBnd") & !kept.0, 0, "with CAP_SETPCAP");
            }
        })
        .join()
        .unwrap();
        assert_eq!(status("CapPrm"), before, "other threads keep theirs");
    }
}
