//! Names short enough for a table on a terminal.

/// A function's name without parameters, template and generic arguments
/// emptied: `std::vector<int, std::allocator<int> >::reserve(unsigned long)`
/// becomes `std::vector<…>::reserve`. Names of other shapes stay as they are.
#[must_use]
pub fn short_name(function: &str) -> String {
    let mut out = String::new();
    let mut depth = 0_usize;
    let mut rest = function;
    while let Some(c) = rest.chars().next() {
        if let Some(operator) = operator(rest).filter(|_| depth == 0) {
            out.push_str(operator);
            rest = &rest[operator.len()..];
            continue;
        }
        // The arrow of `fn() -> T` closes nothing.
        if let Some(tail) = rest.strip_prefix("->") {
            if depth == 0 {
                out.push_str("->");
            }
            rest = tail;
            continue;
        }
        match c {
            // `<T as Trait>::f` begins with one: what stands in it is the name.
            '<' if out.is_empty() => out.push(c),
            '<' => {
                if depth == 0 {
                    out.push_str("<…>");
                }
                depth += 1;
            }
            '>' if depth == 0 => out.push(c),
            '>' => depth -= 1,
            '(' if depth == 0 && !rest.starts_with("(anonymous namespace)") => break,
            _ if depth == 0 => out.push(c),
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    match out.trim_end() {
        "" => function.to_owned(),
        short => short.to_owned(),
    }
}

/// C++ operators that brackets and parentheses are part of.
pub(super) fn operator(text: &str) -> Option<&'static str> {
    const OPERATORS: [&str; 10] = [
        "operator()",
        "operator<<=",
        "operator>>=",
        "operator<=>",
        "operator<<",
        "operator>>",
        "operator<=",
        "operator>=",
        "operator->",
        "(anonymous namespace)",
    ];
    OPERATORS
        .into_iter()
        .find(|operator| text.starts_with(operator))
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn arguments_are_dropped() {
        for (long, short) in [
            ("main", "main"),
            ("operator new(unsigned long)", "operator new"),
            (
                "std::vector<int, std::allocator<int> >::reserve(unsigned long)",
                "std::vector<…>::reserve",
            ),
            ("a::b<c<d>, e(*)(f)>::g<h>(i) const", "a::b<…>::g<…>"),
            (
                "<alloc::vec::Vec<T> as core::ops::Drop>::drop",
                "<alloc::vec::Vec<…> as core::ops::Drop>::drop",
            ),
            ("(anonymous namespace)::f(int)", "(anonymous namespace)::f"),
            ("tiledb::F::operator()(int) const", "tiledb::F::operator()"),
            ("a::operator<<(std::ostream&, int)", "a::operator<<"),
            ("workload::main::{{closure}}", "workload::main::{{closure}}"),
            ("[no stack]", "[no stack]"),
            ("call_once<fn() -> core::Result<A, B>, C>", "call_once<…>"),
            ("f<", "f<…>"),
            (">>", ">>"),
            ("(", "("),
            ("", ""),
        ] {
            assert_eq!(short_name(long), short, "{long}");
        }
    }
}
