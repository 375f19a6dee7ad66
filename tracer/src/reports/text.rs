//! Text for people: quoting, escaping, widths.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A label and what there is to say.
pub(super) type Line = (&'static str, String);

/// Words as a shell would be given them. Control characters are escaped.
pub(super) fn command_line(words: &[String]) -> String {
    let words = words.iter().map(|word| quote(&printable(word)));
    words.collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=,+@%^~".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Text that can't move a cursor, hide itself or break a line.
pub(super) fn printable(text: &str) -> String {
    crate::symbols::escape(text)
}

/// Columns that text takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Text cut to a number of columns, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut taken = 1;
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > columns {
            break;
        }
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Text cut to a number of columns at its front.
pub(super) fn cut_front(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut taken = 1;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken <= columns
    };
    let kept: Vec<char> = text.chars().rev().take_while(fits).collect();
    let ellipsis = ['…'].into_iter().take(columns.min(1));
    ellipsis.chain(kept.into_iter().rev()).collect()
}

/// Text filled with blanks on the right, or cut, to a number of columns.
pub(super) fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(&text))))
}

/// Text filled with blanks on the left, or cut, to a number of columns.
pub(super) fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(&text))))
}

/// A count with thousands apart: `1,276,994`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A part as per cent, with as many digits as are of use: `0.97 %`, `12 %`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        p if part == 0 || p >= 9.95 => format!("{p:.0} %"),
        p if p >= 0.995 => format!("{p:.1} %"),
        p if p >= 0.005 => format!("{p:.2} %"),
        _ => "<0.01 %".to_owned(),
    }
}

/// Nanoseconds as seconds: `18.77 s`.
pub(super) fn seconds(nanos: u64) -> String {
    match nanos as f64 / 1e9 {
        s if s >= 99.95 => format!("{s:.0} s"),
        s if s >= 9.995 => format!("{s:.1} s"),
        s if s >= 0.9995 => format!("{s:.2} s"),
        0.0 => "0 s".to_owned(),
        s => format!("{s:.3} s"),
    }
}

/// Text as code, in a table too; nothing in it is markup.
pub(super) fn code(text: &str) -> String {
    let text = printable(text).replace('|', "\\|");
    match text.contains('`') {
        true => format!("`` {text} ``").replace("```", "` ``"),
        false => format!("`{text}`"),
    }
}

/// Rows of cells: all columns but the last are numbers, and stand to the right.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    pub(super) fn new(heads: &[&str]) -> Self {
        let heads = heads.iter().map(|&head| head.to_owned()).collect();
        Self { rows: vec![heads] }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let mut widths = vec![0; self.rows[0].len()];
        for row in &self.rows {
            for (most, cell) in widths.iter_mut().zip(row) {
                *most = (*most).max(width(cell));
            }
        }
        let mut out = String::new();
        for row in &self.rows {
            let Some((last, numbers)) = row.split_last() else {
                continue;
            };
            for (cell, most) in numbers.iter().zip(&widths) {
                out.push_str(&right(cell, *most));
                out.push_str("  ");
            }
            out.push_str(last);
            out.push('\n');
        }
        out
    }

    /// As Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            out.push_str(&format!("| {} |\n", row.join(" | ")));
            if index == 0 {
                let numbers = "---:|".repeat(row.len().saturating_sub(1));
                out.push_str(&format!("|{numbers}---|\n"));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_can_be_pasted() {
        let words = ["workload", "-t", "it's", "", "a b", "\x1b[2J", "ä"];
        let words = words.map(ToOwned::to_owned);
        assert_eq!(
            command_line(&words),
            r"workload -t 'it'\''s' '' 'a b' '\u{1b}[2J' ä"
        );
    }

    #[test]
    fn text_is_cut_and_filled_by_columns() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("漢字漢字", 4), "漢…");
        assert_eq!(cut("ab", 0), "");
        assert_eq!(cut_front("abcdef", 5), "…cdef");
        assert_eq!(cut_front("漢字漢字", 4), "…字");
        assert_eq!(left("漢", 4), "漢  ");
        assert_eq!(right("ab", 4), "  ab");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(12_345_678)],
            ["0", "999", "1,000", "12,345,678"]
        );
        let parts = [
            (0, 5),
            (1, 0),
            (1, 3),
            (97, 10_000),
            (45, 1_000),
            (1, 1_000_000),
            (3, 2),
        ];
        let texts = parts.map(|(part, whole)| percent(part, whole));
        assert_eq!(
            texts,
            ["0 %", "–", "33 %", "0.97 %", "4.5 %", "<0.01 %", "150 %"]
        );
        let times = [0, 1_234_567, 999_600_000, 18_770_000_000, 347_340_000_000].map(seconds);
        assert_eq!(times, ["0 s", "0.001 s", "1.00 s", "18.8 s", "347 s"]);
    }
}
