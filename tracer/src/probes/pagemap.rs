//! Which pages of a process are present, from `/proc/PID/pagemap`.
//!
//! Linux 6.7 and later tell runs of pages by the ioctl `PAGEMAP_SCAN`; before that there is a
//! word for each page (kernel: Documentation/admin-guide/mm/pagemap.rst). Left out are pages
//! that RSS does not count: the shared zero page, the vDSO, devices' and huge pages of
//! hugetlbfs.

use crate::arch::PAGE;
use crate::events::RssCounter;
use crate::files::Mapping;
use crate::units::{Address, Bytes, Pid};
use nix::sys::statfs::{HUGETLBFS_MAGIC, statfs};
use procfs::process::{MMapPath, MemoryMap, Process};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Neighbouring pages that are present and counted in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Address of its first byte.
    pub address: Address,
    /// Length in bytes.
    pub length: Bytes,
    /// Counter that the pages belong to.
    pub member: RssCounter,
}

/// Without the ioctl a page costs eight bytes, present or not: more than this is not read.
const MAX_PLAIN: u64 = 64 << 30;

/// Present pages of all mappings, in order.
///
/// # Errors
/// ESRCH where the process has ended or is ending; whatever stands in the way of reading.
pub fn present(pid: Pid) -> io::Result<Vec<Run>> {
    let process = Process::new(pid.0 as i32).map_err(io::Error::other)?;
    let maps = process.maps().map_err(io::Error::other)?;
    let file = File::open(format!("/proc/{}/pagemap", pid.0))?;
    if maps.0.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    let mut huge = HashMap::new();
    let counted = |map: &MemoryMap| is_counted(map) && !is_of_hugetlbfs(pid, map, &mut huge);
    let maps: Vec<_> = maps.into_iter().filter(counted).collect();
    match scanned(&file, &maps) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => plain(&file, &maps),
        result => result,
    }
}

/// Whether RSS counts the pages of a mapping.
fn is_counted(map: &MemoryMap) -> bool {
    match &map.pathname {
        MMapPath::Anonymous | MMapPath::Heap | MMapPath::Stack | MMapPath::TStack(_) => true,
        MMapPath::Path(path) => {
            let is = |prefix| path.starts_with(prefix);
            !is("/dev") || is("/dev/shm") || path.to_string_lossy().starts_with("/dev/zero")
        }
        MMapPath::Vsys(_) => true,
        // Names given by prctl: `[anon:…]`; others are the kernel's.
        MMapPath::Other(name) => name.starts_with("anon"),
        _ => false,
    }
}

/// Whether a mapping is of hugetlbfs, `MAP_HUGETLB` and such memfds included. All mappings of
/// a device are, or none.
fn is_of_hugetlbfs(pid: Pid, map: &MemoryMap, known: &mut HashMap<(i32, i32), bool>) -> bool {
    let ask = || {
        let (start, end) = map.address;
        statfs(&Mapping::link(pid.0, &(start..end)))
            .is_ok_and(|found| found.filesystem_type() == HUGETLBFS_MAGIC)
    };
    match map.pathname {
        MMapPath::Path(_) => *known.entry(map.dev).or_insert_with(ask),
        _ => false,
    }
}

/// What counts pages of a mapping that are not anonymous.
fn shared_member(map: &MemoryMap) -> RssCounter {
    match &map.pathname {
        MMapPath::Path(path) => {
            let path = path.to_string_lossy();
            let shared = ["/memfd:", "/dev/zero", "/dev/shm/", "/SYSV"];
            match shared.iter().any(|prefix| path.starts_with(prefix)) {
                true => RssCounter::Shmem,
                false => RssCounter::File,
            }
        }
        _ => RssCounter::Shmem,
    }
}

/// Adds pages to the runs; those that adjoin become one.
fn push(runs: &mut Vec<Run>, start: u64, end: u64, member: RssCounter) {
    if let Some(last) = runs.last_mut()
        && last.member == member
        && last.address.0 + last.length.0 == start
    {
        last.length += Bytes(end - start);
        return;
    }
    runs.push(Run {
        address: Address(start),
        length: Bytes(end - start),
        member,
    });
}

/// `struct pm_scan_arg` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_PFNZERO: u64 = 1 << 5;

/// `_IOWR('f', 16, struct pm_scan_arg)`
pub(super) const PAGEMAP_SCAN: libc::Ioctl = 0xc060_6610_u32 as libc::Ioctl;

fn scanned(file: &File, maps: &[MemoryMap]) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut regions = vec![Region::default(); 1024];
    for map in maps {
        let (mut start, end) = map.address;
        while start < end {
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                start,
                end,
                vec: regions.as_mut_ptr() as u64,
                vec_len: regions.len() as u64,
                category_inverted: PAGE_IS_PFNZERO,
                category_mask: PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
                return_mask: PAGE_IS_FILE,
                ..Scan::default()
            };
            // SAFETY: both structures are ours and as large as they say; the kernel
            // writes no more than `vec_len` regions.
            let found = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) };
            let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
            for region in regions.iter().take(found) {
                let member = match region.categories & PAGE_IS_FILE {
                    0 => RssCounter::Anon,
                    _ => shared_member(map),
                };
                push(&mut runs, region.start, region.end, member);
            }
            if scan.walk_end <= start {
                return Err(io::Error::other("the scan does not get on"));
            }
            start = scan.walk_end;
        }
    }
    Ok(runs)
}

/// A word of pagemap: the page is present; it is a file's or shared; its frame.
const PRESENT: u64 = 1 << 63;
const SHARED: u64 = 1 << 61;
const FRAME: u64 = (1 << 55) - 1;

fn plain(file: &File, maps: &[MemoryMap]) -> io::Result<Vec<Run>> {
    let lengths = maps.iter().map(|map| map.address.1 - map.address.0);
    if lengths.sum::<u64>() > MAX_PLAIN {
        return Err(io::Error::other("too many pages for this kernel's pagemap"));
    }
    let zero = zero_frame();
    let mut runs = Vec::new();
    let mut words = vec![0; 8 << 14];
    for map in maps {
        let (mut start, end) = map.address;
        while start < end {
            let wanted = usize::try_from((end - start) / PAGE * 8).unwrap_or(usize::MAX);
            let wanted = wanted.min(words.len());
            file.read_exact_at(&mut words[..wanted], start / PAGE * 8)?;
            for word in words[..wanted].as_chunks::<8>().0 {
                let word = u64::from_ne_bytes(*word);
                if word & PRESENT != 0 && Some(word & FRAME) != zero {
                    let member = match word & SHARED {
                        0 => RssCounter::Anon,
                        _ => shared_member(map),
                    };
                    push(&mut runs, start, start + PAGE, member);
                }
                start += PAGE;
            }
        }
    }
    Ok(runs)
}

/// The frame of the shared zero page: that of anonymous memory of our own that was only read.
pub(super) fn zero_frame() -> Option<u64> {
    let length = std::num::NonZeroUsize::new(PAGE as usize)?;
    let (prot, flags) = (
        nix::sys::mman::ProtFlags::PROT_READ,
        nix::sys::mman::MapFlags::MAP_PRIVATE,
    );
    // SAFETY: a new mapping, which nobody else knows.
    let page = unsafe { nix::sys::mman::mmap_anonymous(None, length, prot, flags) }.ok()?;
    // SAFETY: the page was just mapped, to be read.
    let _ = unsafe { page.cast::<u8>().as_ptr().read_volatile() };
    let mut word = [0; 8];
    let file = File::open("/proc/self/pagemap").ok()?;
    let read = file.read_exact_at(&mut word, page.as_ptr() as u64 / PAGE * 8);
    // SAFETY: the mapping is ours, and nothing refers to it any more.
    let _ = unsafe { nix::sys::mman::munmap(page, length.get()) };
    read.ok()?;
    Some(u64::from_ne_bytes(word) & FRAME).filter(|&frame| frame != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of sixteen pages of our own two are written and one is read: both ways of reading find
    /// the two. Without privileges the plain way can't tell the zero page.
    #[test]
    fn written_pages_are_present_and_read_ones_are_not() {
        let length = std::num::NonZeroUsize::new(16 * PAGE as usize).unwrap();
        let (prot, flags) = (
            nix::sys::mman::ProtFlags::PROT_READ | nix::sys::mman::ProtFlags::PROT_WRITE,
            nix::sys::mman::MapFlags::MAP_PRIVATE,
        );
        // SAFETY: a new mapping of our own, never unmapped.
        let memory = unsafe { nix::sys::mman::mmap_anonymous(None, length, prot, flags) }.unwrap();
        let start = memory.as_ptr() as u64;
        for page in [3, 9] {
            // SAFETY: within the mapping.
            unsafe {
                memory
                    .cast::<u8>()
                    .add(page * PAGE as usize)
                    .write_volatile(1)
            };
        }
        // SAFETY: within the mapping.
        let _ = unsafe { memory.cast::<u8>().add(12 * PAGE as usize).read_volatile() };
        let own = |runs: Vec<Run>| -> Vec<u64> {
            let pages = runs
                .iter()
                .flat_map(|run| (run.address.0..run.address.0 + run.length.0).step_by(4096));
            pages
                .filter(|page| (start..start + 16 * PAGE).contains(page))
                .map(|page| (page - start) / PAGE)
                .collect()
        };
        let me = Pid(std::process::id());
        assert_eq!(own(present(me).unwrap()), [3, 9]);
        let maps = Process::myself().unwrap().maps().unwrap();
        let maps: Vec<_> = maps.into_iter().filter(is_counted).collect();
        let file = File::open("/proc/self/pagemap").unwrap();
        if zero_frame().is_some() {
            assert_eq!(own(plain(&file, &maps).unwrap()), [3, 9]);
        }
    }

    #[test]
    fn nobody_has_no_pages() {
        assert!(present(Pid(u32::MAX / 2)).is_err());
    }
}
