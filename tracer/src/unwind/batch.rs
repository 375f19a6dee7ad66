//! Writes to maps that have numbered elements, many in one call. It is not only
//! calls that this saves: after each one that changes a map of maps, the kernel
//! waits until no program can see what was there before, some 10 ms.

use aya::Pod;
use aya::maps::{MapData, MapError};
use aya_obj::generated as abi;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Sets the elements from number `first` on.
///
/// # Errors
/// What the kernel says; and `InvalidInput` where the map has elements of another size.
pub(super) fn put<T: Pod>(map: &MapData, first: u32, values: &[T]) -> Result<(), MapError> {
    if values.is_empty() {
        return Ok(());
    }
    if map.info()?.value_size() as usize != size_of::<T>() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
    }
    let keys: Vec<u32> = (first..).take(values.len()).collect();
    // SAFETY: a union of plain integers, for which zero is a value; the kernel
    // wants unused bytes to be zero.
    let mut attr: abi::bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the union is zeroed, which every variant allows.
    let batch = unsafe { &mut attr.batch };
    batch.keys = keys.as_ptr() as u64;
    batch.values = values.as_ptr() as u64;
    batch.count = keys.len() as u32;
    batch.map_fd = map.fd().as_fd().as_raw_fd() as u32;
    let command = abi::bpf_cmd::BPF_MAP_UPDATE_BATCH as libc::c_int;
    // SAFETY: the kernel reads `count` keys and as many values of the size that
    // was just checked; all live through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of_val(&attr)) };
    if result < 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(())
}
