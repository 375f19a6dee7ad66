//! Small questions to the kernel, each of which leaves nothing behind.

use super::degradation::Degradation;
use super::facts::{Cap, Facts};
use super::lack::{Lack, Name};
use super::limit;
use crate::probes::bpf;
use aya_obj::generated as abi;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// What a trace can't begin without, asked before anything is started; some 50 µs.
///
/// # Errors
/// The first [`Lack`].
pub fn early() -> Result<(), Lack> {
    let shown = std::fs::read_link("/proc/self").map_err(|error| Lack::no_proc(&error))?;
    if shown.to_str() != Some(std::process::id().to_string().as_str()) {
        return Err(Lack::foreign_proc());
    }
    if let Err(error) = load_empty() {
        return Err(no_program(&error, &Facts::gather()));
    }
    match limit::too_little() {
        Some(limit) => Err(Lack::small_group(limit)),
        None => Ok(()),
    }
}

/// Why not even an empty program can be loaded.
pub(super) fn no_program(error: &io::Error, facts: &Facts) -> Lack {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Lack::no_bpf(facts),
        _ => Lack::refused(Name::Bpf, "bpf(2)", &[Cap::Bpf, Cap::Perfmon], error, facts),
    }
}

/// Loads a program of a uprobe's type that does nothing.
///
/// # Errors
/// What bpf(2) says.
pub fn load_empty() -> io::Result<OwnedFd> {
    // r0 = 0; exit
    load(&[0xb7, 0x95])
}

/// Whether programs may read the kernel's memory: not so where it is locked down for
/// confidentiality.
///
/// # Errors
/// Where not even an empty program can be loaded.
pub fn reads_kernel() -> io::Result<bool> {
    load_empty()?;
    Ok(load(&read_of_nothing()).is_ok())
}

/// A program that reads eight bytes at 0 by `bpf_probe_read_kernel`.
fn read_of_nothing() -> [u64; 7] {
    const PROBE_READ_KERNEL: u64 = 113;
    [
        0x0000_a1bf,                      // r1 = r10
        0xffff_fff8_0000_0107,            // r1 += -8
        8 << 32 | 0x02b7,                 // r2 = 8
        0x03b7,                           // r3 = 0
        PROBE_READ_KERNEL << 32 | 0x0085, // call
        0xb7,                             // r0 = 0
        0x95,                             // exit
    ]
}

fn load(code: &[u64]) -> io::Result<OwnedFd> {
    bpf::load_code(code, abi::bpf_prog_type::BPF_PROG_TYPE_KPROBE, 0)
}

/// Whether the kernel tells runs of present pages (`PAGEMAP_SCAN`, Linux 6.7).
///
/// # Errors
/// Where our own pagemap can't be opened.
pub fn pagemap_scan() -> io::Result<bool> {
    let file = File::open("/proc/self/pagemap")?;
    // SAFETY: a null argument is an error for the ioctl if there is one, and nothing is written.
    let result = unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            crate::probes::pagemap::PAGEMAP_SCAN,
            std::ptr::null_mut::<u8>(),
        )
    };
    let error = io::Error::last_os_error();
    Ok(result >= 0 || error.raw_os_error() != Some(libc::ENOTTY))
}

/// What is less exact of what `/proc` tells of pages and files.
#[must_use]
pub fn of_pages() -> Vec<Degradation> {
    let mut all = Vec::new();
    if !pagemap_scan().unwrap_or(false) {
        let frames = crate::probes::pagemap::zero_frame();
        all.push(Degradation::PlainPagemap);
        all.extend(frames.is_none().then_some(Degradation::ZeroPages));
    }
    if reads_map_files().is_err() {
        all.push(Degradation::NoMapFiles);
    }
    all
}

/// Whether a trace needs CAP_SYS_ADMIN for what it does once its programs are loaded: Debian's
/// and Ubuntu's kernels ask for it at perf_event_open(2) unless `kernel.perf_event_paranoid` is
/// 2 or less, and without PAGEMAP_SCAN (Linux 6.7) it is page frames that tell which pages are
/// the shared zero page.
#[must_use]
pub fn needs_admin(facts: &Facts) -> bool {
    facts.paranoid.is_some_and(|level| level > 2) || !pagemap_scan().unwrap_or(false)
}

/// Whether links of `/proc/PID/map_files` can be followed.
///
/// # Errors
/// EPERM without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.
pub fn reads_map_files() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/map_files")? {
        match std::fs::metadata(entry?.path()) {
            // A mapping of another thread, gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(drop),
        }
    }
    Ok(())
}
