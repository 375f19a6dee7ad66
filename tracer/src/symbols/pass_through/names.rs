//! Names as the table has them: what language a name is of, and what of it counts.

use super::table::Language;
use crate::symbols::Frame;
use crate::symbols::short::operator;

/// A function's name by languages: a plain one may be C's, one of several parts C++'s or
/// Rust's, which its parameters or its source file decide.
pub(super) fn readings(frame: &Frame, function: &str) -> Vec<(Language, String)> {
    let file = frame.file.as_deref().unwrap_or_default();
    if !function.contains("::") && !function.contains('(') && !function.starts_with('<') {
        return match function.starts_with("operator ") {
            true => vec![(Language::Cpp, function.to_owned())],
            false => vec![(Language::C, c_name(function).to_owned())],
        };
    }
    let (cpp, parameters) = cpp_name(function);
    let mut readings = vec![(Language::Cpp, cpp)];
    let rust_file = file.is_empty() || file.ends_with(".rs");
    if !parameters && rust_file {
        readings.push((Language::Rust, self_type(function).to_owned()));
    }
    readings
}

/// Without what linkers, compilers and C libraries put around a name: underscores,
/// `GI_`, `.part.0`, the processor that an implementation is for.
fn c_name(function: &str) -> &str {
    let bare = function.trim_start_matches('_');
    let bare = bare.strip_prefix("GI_").unwrap_or(bare);
    let bare = bare.trim_start_matches('_');
    let end = bare.find(['.', '@']).unwrap_or(bare.len());
    const VARIANTS: [&str; 11] = [
        "_avx",
        "_sse",
        "_ssse",
        "_evex",
        "_erms",
        "_unaligned",
        "_aligned_rep",
        "_generic",
        "_chk",
        "_ia32",
        "_rep_",
    ];
    let bare = &bare[..end];
    let movers = [
        "mem", "str", "wmem", "wcs", "stp", "raw", "bcopy", "bzero", "read", "pread", "fread",
        "fgets", "recv",
    ];
    if !movers.iter().any(|mover| bare.starts_with(mover)) {
        return bare;
    }
    let cuts = VARIANTS.iter().filter_map(|variant| bare.find(variant));
    cuts.min().map_or(bare, |cut| &bare[..cut])
}

/// The qualified name without return type and parameters, and whether it had any of the
/// latter. Inline namespaces of the standard library are left out.
fn cpp_name(function: &str) -> (String, bool) {
    const ANONYMOUS: &str = "(anonymous namespace)";
    let (mut depth, mut start, mut at) = (0_usize, 0, 0);
    let mut end = function.len();
    while let Some(c) = function[at..].chars().next() {
        let rest = &function[at..];
        let step = match c {
            _ if rest.starts_with(ANONYMOUS) => ANONYMOUS.len(),
            'o' if depth == 0 && rest.starts_with("operator ") => "operator ".len(),
            'o' if depth == 0 && operator(rest).is_some() => operator(rest).map_or(1, str::len),
            '-' if rest.starts_with("->") => 2,
            '(' if depth == 0 => {
                end = at;
                break;
            }
            ' ' if depth == 0 => {
                start = at + 1;
                1
            }
            c => {
                depth = match c {
                    '<' => depth + 1,
                    '>' => depth.saturating_sub(1),
                    _ => depth,
                };
                c.len_utf8()
            }
        };
        at += step;
    }
    let mut name = function[start.min(end)..end].to_owned();
    for inline in [
        "std::__1::",
        "std::__cxx11::",
        "std::__ndk1::",
        "std::__debug::",
    ] {
        if let Some(rest) = name.strip_prefix(inline) {
            name = format!("std::{rest}");
        }
    }
    (name, end < function.len())
}

/// `<alloc::vec::Vec<T> as Trait>::f` is about `alloc::vec::Vec`; where the type
/// is the trait's own parameter (`<T as alloc::…>::f`), it is about the trait.
fn self_type(function: &str) -> &str {
    let mut name = function.trim_start_matches('<');
    if name.len() == function.len() {
        return name;
    }
    loop {
        let shorter = ["&", "mut ", "*const ", "*mut ", "dyn ", "["];
        match shorter.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            Some(rest) => name = rest,
            None => break,
        }
    }
    match name.split_once(" as ") {
        Some((own, of)) if own.len() <= 2 || is_primitive(own) => of,
        _ => name,
    }
}

fn is_primitive(name: &str) -> bool {
    const PRIMITIVES: [&str; 15] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
        "str", "bool", "char",
    ];
    PRIMITIVES.contains(&name.trim_end_matches(']'))
}

/// Whether a source file is a standard library's or a container's. Line tables alone do
/// not tell which module an inlined function is from (`with_capacity`), but they tell
/// its file.
pub(super) fn is_library_file(file: &str) -> bool {
    if file.ends_with(".rs") {
        return is_rust_library(file);
    }
    // `/usr/include/c++/14/bits/stl_vector.h`, `/c++/v1/vector`
    file.match_indices("/c++/").any(|(at, found)| {
        let version = file[at + found.len()..]
            .split('/')
            .next()
            .unwrap_or_default();
        version == "v1" || version.starts_with(|c: char| c.is_ascii_digit())
    })
}

fn is_rust_library(file: &str) -> bool {
    const PARTS: [&str; 5] = [
        "alloc/src/",
        "core/src/",
        "std/src/collections/",
        "std/src/alloc.rs",
        "std/src/sys/alloc/",
    ];
    const CRATES: [&str; 3] = ["hashbrown-", "indexmap-", "smallvec-"];
    // Compilers call their own sources `/rustc/HASH/library/…`, distributions have them in
    // `/usr/src/rustc-VERSION/library/…`, rustup below `lib/rustlib/src/rust`.
    let of_compiler = |before: &str| {
        let own = before.rsplit('/').next().unwrap_or_default();
        before.is_empty()
            || before.starts_with("/rustc/")
            || before.ends_with("/rustlib/src/rust")
            || own
                .strip_prefix("rustc-")
                .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
    };
    if let Some((before, part)) = file.split_once("library/")
        && PARTS.iter().any(|known| part.starts_with(known))
        && of_compiler(before.trim_end_matches('/'))
    {
        return true;
    }
    file.split('/').any(|part| {
        let version = CRATES.iter().find_map(|name| part.strip_prefix(name));
        version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
    })
}
