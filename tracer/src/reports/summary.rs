//! The summary on the terminal.

use super::Concluded;
use super::location::Location;
use super::locations::{largest, locations, sum, touched};
use super::text::{Line, count, left, printable, right, width};
use super::totals::{ending, is_alarming, nameless, totals, warnings};
use crate::symbols::{Frame, short_name};
use crate::units::Bytes;
use std::io::IsTerminal;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Locations that are listed.
const ROWS: usize = 12;

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of a line.
    pub columns: usize,
    /// Whether escape sequences for colour and weight may be used.
    pub colour: bool,
}

impl Style {
    /// For a file or a pipe.
    pub const PLAIN: Self = Self {
        columns: 120,
        colour: false,
    };

    /// What a stream can show: as wide as the terminal, in colour unless `NO_COLOR` or
    /// `TERM` forbid it; what is no terminal gets [`PLAIN`](Self::PLAIN).
    #[must_use]
    pub fn of(stream: BorrowedFd<'_>) -> Self {
        let terminal = stream.is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let columns = if terminal {
            terminal_columns(stream)
        } else {
            None
        };
        Self {
            columns: columns.unwrap_or(Self::PLAIN.columns).clamp(60, 250),
            colour: terminal && !dumb && !set("NO_COLOR"),
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

fn terminal_columns(stream: BorrowedFd<'_>) -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ fills in the structure that is passed, our own.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// What is printed at the end of a run: the largest locations, totals beside
/// the kernel's, what was lost, and where the files are.
#[must_use]
pub fn summary(input: &Concluded, files: &[PathBuf], style: Style) -> String {
    let mut out = String::new();
    let title = super::text::cut(
        &input.command_line(),
        style.columns.saturating_sub(30).max(20),
    );
    out.push_str(&format!(
        "{}  {}\n\n",
        style.paint("1", &title),
        ending(input)
    ));
    let all = locations(input);
    let shown = |l: &&Location| l.reserved.max(l.resident) > Bytes::ZERO;
    let rows: Vec<&Location> = all.iter().filter(shown).collect();
    if rows.is_empty() {
        out.push_str("No allocation was recorded.\n");
    } else {
        table(&mut out, input, rows, style);
    }
    out.push('\n');
    for line in totals(input) {
        push_line(&mut out, &line, "2", style);
    }
    if let Some(line) = nameless(input, all) {
        push_line(&mut out, &line, "2", style);
    }
    for line in warnings(input) {
        let colour = if is_alarming(&line) { "1;31" } else { "2" };
        push_line(&mut out, &line, colour, style);
    }
    if let Some(text) = files_line(files) {
        push_line(&mut out, &("files", text), "2", style);
    }
    out
}

/// Label in a column of its own, text wrapped at blanks.
fn push_line(out: &mut String, (label, text): &Line, colour: &str, style: Style) {
    const LABEL: usize = 13;
    let mut column = 0;
    out.push_str(&style.paint(colour, &left(label, LABEL)));
    for word in words(text) {
        let word = word.as_str();
        if column > 0 && LABEL + column + 1 + width(word) > style.columns {
            out.push('\n');
            out.push_str(&" ".repeat(LABEL));
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width(word);
    }
    out.push('\n');
}

/// What is not broken at the end of a line: a word, or a number with its unit.
fn words(text: &str) -> Vec<String> {
    let is_unit = |word: &str| {
        let word = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        matches!(
            word,
            "B" | "KiB" | "MiB" | "GiB" | "TiB" | "PiB" | "EiB" | "s"
        )
    };
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match words.last_mut() {
            Some(number) if is_unit(word) && number.ends_with(|c: char| c.is_ascii_digit()) => {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// `out/ureter: top.md, stats.json, reserved.svg`
fn files_line(files: &[PathBuf]) -> Option<String> {
    let dir = files.first()?.parent().unwrap_or(Path::new(""));
    let name = |file: &PathBuf| {
        let name = file.strip_prefix(dir).unwrap_or(file);
        printable(&name.to_string_lossy())
    };
    let names: Vec<_> = files.iter().map(name).collect();
    let dir = match dir.as_os_str().is_empty() {
        true => ".".to_owned(),
        false => printable(&dir.to_string_lossy()),
    };
    Some(format!("{dir}: {}", names.join(", ")))
}

fn table(out: &mut String, input: &Concluded, rows: Vec<&Location>, style: Style) {
    const HEAD: [&str; 4] = ["reserved", "resident", "touched", "calls"];
    let cells = |l: &Location| {
        [
            l.reserved.to_string(),
            l.resident.to_string(),
            touched(l.resident, l.reserved_then),
            count(l.calls),
        ]
    };
    let (shown, rest) = largest(input, rows, ROWS);
    let lines: Vec<[String; 4]> = shown.iter().map(|row| cells(row)).collect();
    let others = (!rest.is_empty()).then(|| cells(&sum(&rest)));
    let mut widths = HEAD.map(width);
    for line in lines.iter().chain(&others) {
        for (column, cell) in line.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    let numbers: usize = widths.iter().map(|w| w + 2).sum();
    let room = style.columns.saturating_sub(numbers).max(20);
    let line = |cells: &[String; 4]| {
        let cells = cells
            .iter()
            .zip(widths)
            .map(|(cell, w)| right(cell, w) + "  ");
        cells.collect::<String>()
    };
    let head = line(&HEAD.map(ToOwned::to_owned));
    out.push_str(&style.paint("2", &format!("{head}location (at the peaks)")));
    out.push('\n');
    for (row, cells) in shown.iter().zip(&lines) {
        out.push_str(&line(cells));
        out.push_str(&location_text(&row.frame, room, style));
        out.push('\n');
    }
    if let Some(cells) = others {
        let text = match rest.len() {
            1 => "1 more location".to_owned(),
            more => format!("{} more locations", count(more as u64)),
        };
        out.push_str(&format!("{}{}\n", line(&cells), style.paint("2", &text)));
    }
}

/// The function, shortened from the front (its end says most), then where.
fn location_text(frame: &Frame, room: usize, style: Style) -> String {
    let name = short_name(&frame.name());
    let nameless = frame.function.is_none() && frame.module.is_some();
    let place = match (&frame.file, frame.line) {
        (Some(file), line) => {
            let file = file.rsplit('/').next().unwrap_or(file);
            line.map_or(format!("  {file}"), |line| format!("  {file}:{line}"))
        }
        (None, _) => match &frame.module {
            _ if nameless => "  (no symbols)".to_owned(),
            Some(module) if frame.function.is_some() => format!("  {module}"),
            _ => String::new(),
        },
    };
    let place = super::text::cut(&place, room / 2);
    let name = super::text::cut_front(&name, room - width(&place));
    name + &style.paint("2", &place)
}
