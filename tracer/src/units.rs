//! Units and address spaces as types, so that none can be passed for another: addresses, linked
//! addresses, offsets in files, bytes, times, ids; the ledger has slots of its own besides. Plain
//! numbers are counts (of pages, of calls), and what stands in the structures of a file as it
//! stands there (`files::elf`).

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// A virtual address in a traced process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u64);

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

/// Thread-group id in the initial pid namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

/// Thread id in the initial pid namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub u32);

/// Identity of a call stack: a hash of its frames, made in the kernel.
/// 0 stands for "no stack was taken"; the constants, for what touches memory without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(pub u64);

impl StackId {
    /// Stands for a thread of the kernel, which made pages resident: khugepaged.
    pub const KERNEL: Self = Self(1);

    /// Stands for another process, which made pages resident: a debugger, `process_vm_writev`.
    pub const ANOTHER: Self = Self(2);

    /// Stands for nobody that was seen: pages that a look into pagemap found.
    pub const FOUND: Self = Self(3);
}

impl Nanos {
    /// Now: the clock that `bpf_ktime_get_ns` and perf records use as well.
    #[must_use]
    pub fn now() -> Self {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the pointer is to a timespec of our own; the clock exists on every Linux.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        Self(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }
}

impl Add<Bytes> for Address {
    type Output = Self;
    fn add(self, length: Bytes) -> Self {
        Self(self.0 + length.0)
    }
}

/// An address as a file counts it (`p_vaddr`): where it is loaded, the process has it elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Linked(pub u64);

/// An offset in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileOffset(pub u64);

/// Bytes from one address to another.
impl Sub for Address {
    type Output = Bytes;
    fn sub(self, other: Self) -> Bytes {
        Bytes(self.0 - other.0)
    }
}

impl Address {
    /// The first byte of its page, if that is so long.
    #[must_use]
    pub const fn page_start(self, page: Bytes) -> Self {
        Self(self.0 / page.0 * page.0)
    }

    /// The beginning of the next page, unless one begins here.
    #[must_use]
    pub const fn page_end(self, page: Bytes) -> Self {
        Self(self.0.next_multiple_of(page.0))
    }
}

impl Bytes {
    /// No bytes.
    pub const ZERO: Self = Self(0);

    /// The larger of two, less the other; zero where it would be negative.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        debug_assert!(self.0 >= other.0, "{self:?} - {other:?}");
        self.saturating_sub(other)
    }
}

impl SubAssign for Bytes {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

/// IEC units with three significant digits, as memray prints them: `29 GiB`, `15.4 GiB`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 999.5 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = match value {
            v if unit == 0 || v >= 99.95 => 0,
            v if v >= 9.995 => 1,
            _ => 2,
        };
        let number = format!("{value:.digits$}");
        let number = match number.contains('.') {
            true => number.trim_end_matches('0').trim_end_matches('.'),
            false => &number,
        };
        f.pad(&format!("{number} {}", UNITS[unit]))
    }
}

/// `4096`, `100K`, `100KiB`, `1.5 G`, …: the letters mean powers of 1,024.
impl std::str::FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            other => return Err(format!("unknown unit `{other}`; use K, M, G or T")),
        };
        let no_size = || format!("`{text}` is not a size such as 64MiB");
        let number: f64 = number.parse().map_err(|_| no_size())?;
        let bytes = number * (1_u64 << shift) as f64;
        // Beyond that a float has not every whole number.
        match (0.0..=9e15).contains(&bytes) {
            true => Ok(Self(bytes as u64)),
            false => Err(no_size()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn sizes_parse_or_say_why_not() {
        for (text, bytes) in [
            ("0", 0),
            ("1.5 k", 1536),
            ("2TiB", 2 << 40),
            ("64MB", 64 << 20),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
        for bad in ["", "x", "-1", "1..2", "nan", "1P", "99999999T"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_print_like_memray() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.98 KiB"),
            (1 << 30, "1 GiB"),
            (31_141_112_262, "29 GiB"),
            (16_525_295_308, "15.4 GiB"),
            (25_655_197, "24.5 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
