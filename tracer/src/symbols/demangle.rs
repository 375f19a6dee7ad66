//! Names as people wrote them: Rust (v0 and legacy, without the hash) and C++.

use cpp_demangle::{BorrowedSymbol, DemangleOptions};
use std::fmt::{self, Write};

/// Longest name that is produced; a mangled name can stand for one that is
/// exponentially longer.
const MAX_NAME: usize = 8 << 10;

/// Demangles a name as it stands in a file. What is no mangled name, or one
/// that does not parse, is returned as it is; control characters are escaped;
/// compilers' suffixes for parts and copies of a function are dropped, since
/// they are not other functions to whoever wrote it.
pub(crate) fn demangle(raw: &[u8]) -> String {
    let name = String::from_utf8_lossy(raw);
    let name = without_suffixes(&name);
    let demangled = rust(name).or_else(|| cpp(name));
    escape(demangled.as_deref().unwrap_or(name))
}

/// Whether a name looks like a C++ or Rust compiler made it.
pub(crate) fn is_mangled(raw: &[u8]) -> bool {
    raw.starts_with(b"_Z") || raw.starts_with(b"_R")
}

/// Text with every character escaped that could move the cursor, hide or
/// reorder text, or end a line.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if out.len() > MAX_NAME {
            out.push('…');
            break;
        }
        match is_harmful(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

/// Control characters, and Unicode's invisible and direction-changing ones.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

/// `f.cold`, `f.part.0`, `f.constprop.1`, `f.llvm.42` are parts or copies of `f`.
fn without_suffixes(mut name: &str) -> &str {
    const SUFFIXES: [&str; 7] = [
        "cold",
        "part",
        "constprop",
        "isra",
        "lto_priv",
        "llvm",
        "localalias",
    ];
    while let Some((head, tail)) = name.rsplit_once('.') {
        let number = !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit());
        let cut = match (number, head.rsplit_once('.')) {
            (true, Some((head, word))) if SUFFIXES.contains(&word) => head,
            _ if SUFFIXES.contains(&tail) => head,
            _ => break,
        };
        if cut.is_empty() {
            break;
        }
        name = cut;
    }
    name
}

fn rust(name: &str) -> Option<String> {
    let demangled = rustc_demangle::try_demangle(name).ok()?;
    // `_ZN…E` without a hash is C++ that happens to parse.
    let legacy = name.trim_start_matches('_').starts_with("ZN");
    if legacy && !has_hash(&limited(|out| write!(out, "{demangled}"))?) {
        return None;
    }
    limited(|out| write!(out, "{demangled:#}"))
}

/// Whether a path ends with `::h` and sixteen hexadecimal digits.
fn has_hash(path: &str) -> bool {
    let hash = path.rsplit_once("::h").map(|(_, hash)| hash);
    hash.is_some_and(|h| h.len() == 16 && h.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The return type, which only templates carry, would stand before the name
/// and is left out.
fn cpp(name: &str) -> Option<String> {
    if !name.starts_with("_Z") && !name.starts_with("__Z") {
        return None;
    }
    let symbol = BorrowedSymbol::new(name.as_bytes()).ok()?;
    let options = DemangleOptions::new().no_return_type();
    limited(|out| symbol.structured_demangle(out, &options))
}

/// A string that refuses to grow past [`MAX_NAME`].
#[derive(Default)]
struct Limited {
    text: String,
    full: bool,
}

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The ellipsis is a part of it.
        let room = (MAX_NAME - '…'.len_utf8()).saturating_sub(self.text.len());
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        let fits = (0..=room).rev().find(|&at| text.is_char_boundary(at));
        self.text.push_str(&text[..fits.unwrap_or(0)]);
        self.full = true;
        Err(fmt::Error)
    }
}

/// What a formatter writes, cut where it writes too much: the beginning of a name says
/// more than all of it mangled. Nothing where it fails.
fn limited(write: impl FnOnce(&mut Limited) -> fmt::Result) -> Option<String> {
    let mut out = Limited::default();
    let written = write(&mut out);
    if out.text.is_empty() {
        return None;
    }
    if out.full || written.is_err() {
        out.text.push('…');
    }
    Some(out.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_lose_their_mangling_hash_and_suffixes() {
        for (raw, name) in [
            ("malloc", "malloc"),
            ("_int_malloc.constprop.0", "_int_malloc"),
            ("sysmalloc.part.0.cold", "sysmalloc"),
            ("memcpy.avx", "memcpy.avx"),
            (".cold", ".cold"),
            (
                "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
                "core::fmt::Write::write_fmt",
            ),
            (
                "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE.llvm.77",
                "core::fmt::Write::write_fmt",
            ),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            (
                "_RNvCskwGfYPst2Cb_3foo16example_function",
                "foo::example_function",
            ),
            ("_ZN3foo3barE", "foo::bar"),
            ("_ZN6tiledb2sm6Reader4readEv", "tiledb::sm::Reader::read()"),
            (
                "_ZN6tiledb2sm6Reader4readEv.cold",
                "tiledb::sm::Reader::read()",
            ),
            ("_ZSt8_DestroyIPiEvT_S1_", "std::_Destroy<int*>(int*, int*)"),
            ("_Znwm", "operator new(unsigned long)"),
            ("_Zgarbage", "_Zgarbage"),
            ("a\x1b[31mb\nc\u{202e}d", "a\\u{1b}[31mb\\u{a}c\\u{202e}d"),
            ("Größe_漢字", "Größe_漢字"),
        ] {
            assert_eq!(demangle(raw.as_bytes()), name, "{raw}");
        }
        assert_eq!(demangle(b"not\xffutf8"), "not\u{fffd}utf8");
    }

    #[test]
    fn a_name_that_explodes_is_cut() {
        // Each argument is twice the one before it. Their numbers have the base 36: `S0_` is the
        // template's own, and they go on from there.
        let mut raw = String::from("_Z1f1A1PIS_S_E");
        for number in 1..30 {
            let digit = char::from_digit(number, 36).map(|digit| digit.to_ascii_uppercase());
            let before = digit.map_or_else(String::new, String::from);
            raw.push_str(&format!("S0_IS{before}_S{before}_E"));
        }
        let name = demangle(raw.as_bytes());
        assert!(name.len() <= MAX_NAME, "{}", name.len());
        assert!(
            name.starts_with("f(A, P<A, A>, ") && name.ends_with('…'),
            "{name}"
        );
        let long = "x".repeat(1 << 20);
        assert_eq!(demangle(long.as_bytes()).chars().count(), MAX_NAME + 2);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_bounded_name_of_one_line(tail in proptest::collection::vec(any::<u8>(), 0..200),
                                                     prefix in 0_usize..4) {
            let mut raw = [&b""[..], b"_Z", b"_R", b"_ZN"][prefix].to_vec();
            raw.extend(tail);
            let name = demangle(&raw);
            prop_assert!(name.len() <= MAX_NAME + 16);
            prop_assert!(!name.chars().any(is_harmful));
        }

        #[test]
        fn mutated_names_do_not_panic(at in 0_usize..60, byte in b' '..b'~') {
            let mut raw = *b"_ZN6tiledb2sm10FilterPipe9run_chainISt6vectorIiSaIiEEPFvT_EEE";
            raw[at] = byte;
            prop_assert!(demangle(&raw).len() <= MAX_NAME);
        }
    }
}
