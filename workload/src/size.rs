//! Sizes in bytes, as users write them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes. `2G`, `2GB` and `2GiB` all mean 2 × 1024³, as in the report that the
/// workload reproduces; a bare number is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// Why a size doesn't parse.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of bytes such as 1048576, 100M, 2G or 1.5GiB")]
pub struct BadSize;

/// Suffixes and the powers of 1024 that they stand for.
const UNITS: [(&str, u32); 6] = [("", 0), ("k", 1), ("m", 2), ("g", 3), ("t", 4), ("p", 5)];

impl FromStr for Bytes {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let text = text.trim();
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let letter = unit
            .strip_suffix("ib")
            .or(unit.strip_suffix('b'))
            .unwrap_or(&unit);
        let (_, power) = UNITS
            .iter()
            .find(|(name, _)| *name == letter)
            .ok_or(BadSize)?;
        let unit = 1024u64.pow(*power);
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(unit).map(Self).ok_or(BadSize);
        }
        let bytes = number.parse::<f64>().map_err(|_| BadSize)? * unit as f64;
        // Not exactly representable beyond 2^53; such sizes are written without a fraction.
        if bytes < 9.0e15 {
            Ok(Self(bytes as u64))
        } else {
            Err(BadSize)
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let mut power = 0;
        while power < 5 && self.0 >= 1024u64.pow(power as u32 + 1) {
            power += 1;
        }
        let unit = 1024u64.pow(power as u32);
        match self.0 % unit {
            0 => write!(f, "{} {}", self.0 / unit, NAMES[power]),
            _ => write!(f, "{:.2} {}", self.0 as f64 / unit as f64, NAMES[power]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_mean_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("100M", 100 << 20),
            ("2G", 2 << 30),
            ("1GiB", 1 << 30),
            ("1 gib", 1 << 30),
            ("1.5k", 1536),
            (" 10GiB ", 10 << 30),
            ("7B", 7),
            ("16383PiB", 16_383 << 50),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "G",
            "-1",
            "1 X",
            "1..2",
            "1e3",
            "ten",
            "99999999999G",
            "16384PiB",
            "1.5EiB",
            "1GG",
            "ib",
        ] {
            assert_eq!(text.parse::<Bytes>(), Err(BadSize), "{text:?}");
        }
    }

    #[test]
    fn sizes_print_with_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1 << 30, "1 GiB"),
            (1536, "1.50 KiB"),
            (100 << 20, "100 MiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
