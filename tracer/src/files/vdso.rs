//! The kernel's vDSO.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// What the kernel and this project call it, where a path would stand.
pub const NAME: &str = "[vdso]";

/// Larger than any: two pages of code as a rule.
const MAX: u64 = 1 << 20;

/// The image that every process has mapped: our own copy of it.
///
/// # Errors
/// Where there is none (`vdso=0` on the kernel's command line), or it can't be read.
pub fn vdso() -> io::Result<Vec<u8>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let range = maps.lines().find_map(range);
    let (begin, end) = range.ok_or(io::ErrorKind::NotFound)?;
    let length = end.saturating_sub(begin).min(MAX);
    let mut bytes = vec![0; length as usize];
    File::open("/proc/self/mem")?.read_exact_at(&mut bytes, begin)?;
    Ok(bytes)
}

/// The addresses in a line of proc_pid_maps(5), if it is the vDSO's.
fn range(line: &str) -> Option<(u64, u64)> {
    let line = line.strip_suffix(NAME)?;
    let (begin, end) = line.split_whitespace().next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(begin)?, number(end)?))
}
