//! `top.md`: the largest locations as a table, for reading and pasting.

use super::kernel_time::slowest;
use super::location::Location;
use super::locations::{largest, locations, sum, touched};
use super::text::{code, count, percent, printable, seconds};
use super::totals::{ending, nameless, totals, warnings};
use super::{Concluded, Report};
use crate::symbols::Frame;
use crate::units::Bytes;
use std::cmp::Reverse;
use std::io::{self, Write};

/// Locations in each table.
const ROWS: usize = 25;
/// Locations whose touchers are listed, and touchers of each.
const JOINS: usize = 5;

/// `top.md`
#[derive(Debug)]
pub(super) struct Top;

impl Report for Top {
    fn file_name(&self) -> &'static str {
        "top.md"
    }

    fn write(&self, input: &Concluded, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "# {}\n", code(&input.command_line()))?;
        writeln!(out, "{}.\n", ending(input))?;
        let all = locations(input);
        reservers(out, all, input)?;
        touchers(out, all, input)?;
        joins(out, all)?;
        leaks(out, all)?;
        processes(out, input)?;
        time(out, all)?;
        writeln!(out, "## Totals\n\n| | |\n|---|---|")?;
        for (label, text) in totals(input) {
            writeln!(out, "| {label} | {} |", cell(&text))?;
        }
        if let Some((label, text)) = nameless(input, all) {
            writeln!(out, "| {label} | {} |", cell(&text))?;
        }
        writeln!(out, "\n## Losses\n")?;
        for (label, text) in warnings(input) {
            writeln!(out, "- {label}: {}", plain(&text))?;
        }
        Ok(())
    }
}

fn reservers(out: &mut dyn Write, all: &[Location], input: &Concluded) -> io::Result<()> {
    let shown = |l: &&Location| l.reserved.max(l.resident) > Bytes::ZERO;
    let rows: Vec<&Location> = all.iter().filter(shown).collect();
    writeln!(out, "## Who reserved it\n")?;
    if rows.is_empty() {
        return writeln!(out, "No allocation was recorded.\n");
    }
    writeln!(
        out,
        "Reserved at the reserved peak, resident at the resident peak (two moments); touched: what is \
         resident of what is reserved at the resident peak; calls and size over the run.\n\n\
         | reserved | resident | touched | calls | size | location |\n\
         |---:|---:|---:|---:|---:|---|"
    )?;
    let (shown, rest) = largest(input, rows, ROWS);
    let mut line = |row: &Location, location: &str| {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {location} |",
            row.reserved,
            row.resident,
            touched(row.resident, row.reserved_then),
            count(row.calls),
            row.size
        )
    };
    for row in shown {
        line(row, &place(&row.frame))?;
    }
    if !rest.is_empty() {
        line(&sum(&rest), &format!("{} more", count(rest.len() as u64)))?;
    }
    writeln!(out)
}

/// What was never given back.
fn leaks(out: &mut dyn Write, all: &[Location]) -> io::Result<()> {
    let mut rows: Vec<&Location> = all.iter().filter(|l| l.leaked > Bytes::ZERO).collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by_key(|l| Reverse(l.leaked));
    writeln!(
        out,
        "## What was not freed\n\n\
         Blocks that still lived when their process ended.\n\n\
         | not freed | of all it allocated | location |\n|---:|---:|---|"
    )?;
    let (shown, rest) = rows.split_at(rows.len().min(ROWS));
    let mut line = |row: &Location, location: &str| {
        let part = percent(row.leaked.0, row.size.0);
        writeln!(out, "| {} | {part} | {location} |", row.leaked)
    };
    for row in shown {
        line(row, &place(&row.frame))?;
    }
    if !rest.is_empty() {
        line(&sum(rest), &format!("{} more", count(rest.len() as u64)))?;
    }
    writeln!(out)
}

/// Which processes there were, where there were several.
fn processes(out: &mut dyn Write, input: &Concluded) -> io::Result<()> {
    let all = &input.account.processes;
    if all.len() < 2 {
        return Ok(());
    }
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&at| {
        (
            Reverse(all[at].resident_peak),
            Reverse(all[at].reserved_peak),
            at,
        )
    });
    writeln!(
        out,
        "## Processes\n\n\
         Each at its own peaks; the largest resident first.\n\n\
         | resident | reserved | allocations | pid | parent | command |\n|---:|---:|---:|---:|---:|---|"
    )?;
    for &at in order.iter().take(ROWS) {
        let process = &all[at];
        let command = super::processes::line(&input.run, at);
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            process.resident_peak,
            process.reserved_peak,
            count(process.allocs),
            process.pid.0,
            process.parent.0,
            command.map_or_else(|| "not known".to_owned(), |command| code(&command))
        )?;
    }
    let more = all.len().saturating_sub(ROWS);
    if more > 0 {
        writeln!(out, "| | | | | | {} more |", count(more as u64))?;
    }
    writeln!(out)
}

fn touchers(out: &mut dyn Write, all: &[Location], input: &Concluded) -> io::Result<()> {
    let mut rows: Vec<&Location> = all.iter().filter(|l| l.touched > Bytes::ZERO).collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by_cached_key(|l| (Reverse(l.touched), l.frame.to_string()));
    let whole = input.account.resident_peak.resident.0;
    writeln!(out, "## Who touched it\n")?;
    writeln!(out, "| resident | of all | location |\n|---:|---:|---|")?;
    for row in rows.iter().take(ROWS) {
        let location = place(&row.frame);
        writeln!(
            out,
            "| {} | {} | {location} |",
            row.touched,
            percent(row.touched.0, whole)
        )?;
    }
    writeln!(out)
}

/// Who touched what the largest reservers reserved.
fn joins(out: &mut dyn Write, all: &[Location]) -> io::Result<()> {
    let rows: Vec<&Location> = all
        .iter()
        .filter(|l| !l.touchers.is_empty())
        .take(JOINS)
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Who touched what others reserved\n")?;
    for row in rows {
        let location = place(&row.frame);
        writeln!(
            out,
            "- {location}: {} reserved, {} resident",
            row.reserved, row.resident
        )?;
        for (toucher, bytes) in row.touchers.iter().take(JOINS) {
            writeln!(out, "  - {bytes} by {}", code(toucher))?;
        }
        let rest = &row.touchers[row.touchers.len().min(JOINS)..];
        if !rest.is_empty() {
            let bytes: Bytes = rest.iter().map(|(_, bytes)| *bytes).sum();
            writeln!(out, "  - {bytes} by {} others", rest.len())?;
        }
    }
    writeln!(out)
}

/// Where the kernel's time went, over the run.
fn time(out: &mut dyn Write, all: &[Location]) -> io::Result<()> {
    let rows = slowest(all);
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## Where the kernel's time went\n\n\
         Memory system calls from entry to return, page faults from the exception until the page \
         is counted; wall time, summed over threads.\n\n\
         | time in calls | calls | time in faults | faults | location |\n\
         |---:|---:|---:|---:|---|"
    )?;
    for row in rows.iter().take(ROWS) {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            seconds(row.mapping_time.0),
            count(row.mapping_calls),
            seconds(row.fault_time.0),
            count(row.faults),
            place(&row.frame)
        )?;
    }
    writeln!(out)
}

/// A frame, and whether its file has no symbols.
fn place(frame: &Frame) -> String {
    let note = if frame.function.is_none() && frame.module.is_some() {
        " (no symbols)"
    } else {
        ""
    };
    code(&frame.to_string()) + note
}

fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
}

/// Text without anything that Markdown or HTML would make something of.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '[' | ']' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}
