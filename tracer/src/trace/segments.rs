//! How long a segment of System V shared memory is: `shmat` does not say.

use crate::events::{Body, Event};
use crate::units::{Bytes, Pid};

/// Asks the kernel for the length of a segment that was just attached. As long as it is
/// attached it is there, even if it was marked to be removed.
pub(super) fn complete(event: &mut Event) {
    if let Body::ShmAttach {
        segment, length, ..
    } = &mut event.body
        && shares_our_namespace(event.pid)
        && let Ok(segment) = i32::try_from(*segment)
    {
        *length = Bytes(size(segment).unwrap_or(0));
    }
}

/// Segment ids of another IPC namespace mean other segments here.
fn shares_our_namespace(pid: Pid) -> bool {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/ipc")).ok();
    let ours = namespace("self");
    ours.is_some() && ours == namespace(&pid.0.to_string())
}

fn size(segment: i32) -> Option<u64> {
    // SAFETY: all of its fields are integers.
    let mut about: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: IPC_STAT fills in the structure that is passed, our own.
    let result = unsafe { libc::shmctl(segment, libc::IPC_STAT, &raw mut about) };
    (result == 0).then_some(about.shm_segsz as u64)
}
