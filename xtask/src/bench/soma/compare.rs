//! The tables: totals, where the bytes are, how the stacks end.

use serde_json::{Map, Value};

use super::super::workload::Figures;

/// Rows of each table of locations.
const ROWS: usize = 10;

/// Prints what each says of the whole run.
pub(super) fn print_totals(tissue: &str, plain: &Figures, memray: &Figures, tracer: &Figures) {
    println!("\n| {tissue} | plain | memray --native | tracer |");
    println!("|---|---:|---:|---:|");
    let percent = |part: f64, whole: f64| format!("{:+.2} %", (part / whole - 1.0) * 100.0);
    println!(
        "| peak_mem | | {} | {} ({}) |",
        grouped(memray["peak"] as u64),
        grouped(tracer["peak"] as u64),
        percent(tracer["peak"], memray["peak"])
    );
    println!(
        "| VmHWM | {} | {} | {} |",
        grouped(plain["resident"] as u64),
        grouped(memray["resident"] as u64),
        grouped(tracer["resident"] as u64)
    );
    println!(
        "| resident peak by the tracer | | | {} |",
        grouped(tracer["own resident"] as u64)
    );
    println!(
        "| unexplained of VmHWM | | | {} ({:.2} %) |",
        tracer["unexplained"],
        tracer["unexplained"].abs() / tracer["resident"] * 100.0
    );
    println!("| events lost | | | {} |", tracer["lost"]);
    for step in ["fetch", "command"] {
        let times = |figures: &Figures| {
            let ratio = figures[step] / plain[step];
            format!("{:.2} s ({ratio:.2} ×)", figures[step])
        };
        let (memray, tracer) = (times(memray), times(tracer));
        println!("| {step} | {:.2} s | {memray} | {tracer} |", plain[step]);
    }
}

/// Prints compare.py's answer, which is about the last run of each.
pub(super) fn print_details(details: &Value) {
    print_peak(details);
    print_unavailable(details);
    print_stacks(&details["stacks"]);
}

/// What was live at each one's peak.
fn print_peak(details: &Value) {
    println!("\n| location, live at the peak (last run) | memray | tracer | more by tracer |");
    println!("|---|---:|---:|---:|");
    let memray = |name: &str| details["memray_peak"][name].as_u64().unwrap_or_default();
    for (name, tracer) in largest(&details["tracer"], |figures| &figures["peak"]) {
        let more = i128::from(tracer) - i128::from(memray(name));
        println!(
            "| {name} | {} | {} | {more} |",
            grouped(memray(name)),
            grouped(tracer)
        );
    }
}

/// What memray's `stats` has no stack for, and what the tracer has for it.
fn print_unavailable(details: &Value) {
    let unavailable = &details["unavailable"];
    let number = |key: &str| unavailable[key].as_u64().unwrap_or_default();
    println!(
        "\n`<stack trace unavailable>` in memray's stats: {} bytes in {} allocations over the run.",
        grouped(number("bytes")),
        grouped(number("calls"))
    );
    println!(
        "With native stack in the capture, down to the thread's entry: {} bytes; of all their frames \
         {:.1} % are <unknown>.",
        grouped(number("to_entry")),
        number("unknown_frames") as f64 / number("frames") as f64 * 100.0
    );
    println!("\n| location, over the run | memray: unavailable | tracer | resident at its peak |");
    println!("|---|---:|---:|---:|");
    for (name, bytes) in largest(&unavailable["by_location"], |bytes| bytes) {
        let tracer = &details["tracer"][name];
        let figure = |key: &str| tracer[key].as_u64().map_or("".into(), grouped);
        println!(
            "| {name} | {} | {} | {} |",
            grouped(bytes),
            figure("run"),
            figure("resident")
        );
    }
}

/// How the tracer's stacks end.
fn print_stacks(stacks: &Value) {
    let ends: Vec<_> = largest(stacks, |count| count).collect();
    let all: u64 = ends.iter().map(|(_, count)| count).sum();
    println!("\nStacks taken: {}; they end", grouped(all));
    for (end, count) in ends {
        let percent = count as f64 / all as f64 * 100.0;
        println!("  {end}: {} ({percent:.3} %)", grouped(count));
    }
}

/// The entries with the largest figures, largest first.
fn largest<'a>(
    table: &'a Value,
    figure: impl Fn(&'a Value) -> &'a Value,
) -> impl Iterator<Item = (&'a str, u64)> {
    let entries = table.as_object().into_iter().flat_map(Map::iter);
    let mut rows: Vec<_> = entries
        .map(|(name, value)| (name.as_str(), figure(value).as_u64().unwrap_or_default()))
        .collect();
    rows.sort_by_key(|(_, value)| std::cmp::Reverse(*value));
    rows.into_iter().take(ROWS)
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
