//! `timeline.svg`: reserved and resident bytes over time, the peaks marked.

mod axis;
mod marks;

use super::text::seconds;
use super::{Concluded, Report};
use crate::ledger::account::{Account, Point};
use crate::units::{Bytes, Nanos};
use axis::Axis;
use std::io::{self, Write};

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 420.0;
/// Room around a plot: above for titles, at the left for sizes.
const LEFT: f64 = 90.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 70.0;
const GAP: f64 = 50.0;

/// `timeline.svg`
#[derive(Debug)]
pub(super) struct Timeline;

impl Report for Timeline {
    fn file_name(&self) -> &'static str {
        "timeline.svg"
    }

    fn write(&self, input: &Concluded, out: &mut dyn Write) -> io::Result<()> {
        let account = &input.account;
        writeln!(
            out,
            "<?xml version=\"1.0\" standalone=\"no\"?>\n\
             <svg version=\"1.1\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             xmlns=\"http://www.w3.org/2000/svg\" font-family=\"monospace\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
        )?;
        let title = format!("Reserved and resident over time: {}", input.command_line());
        text(
            out,
            WIDTH / 2.0,
            24.0,
            "middle",
            17,
            &super::text::cut(&title, 110),
        )?;
        if account.timeline.is_empty() {
            text(
                out,
                WIDTH / 2.0,
                84.0,
                "middle",
                12,
                "Nothing was recorded.",
            )?;
            return writeln!(out, "</svg>");
        }
        let height = (HEIGHT - TOP - GAP * 1.6) / 2.0;
        let axis = Axis::new(account);
        reserved(out, account, &axis, TOP, height)?;
        resident(out, account, &axis, TOP + height + GAP, height)?;
        marks::draw(out, input, &axis)?;
        writeln!(out, "</svg>")
    }
}

/// Where a plot is, and what its edges mean.
struct Plot<'a> {
    top: f64,
    height: f64,
    axis: &'a Axis,
    most: f64,
}

impl<'a> Plot<'a> {
    fn new(axis: &'a Axis, top: f64, height: f64, most: Bytes) -> Self {
        Self {
            top,
            height,
            axis,
            // Room for the peak's label below the legend.
            most: (most.0 as f64).max(1.0) * 1.16,
        }
    }

    fn x(&self, at: Nanos) -> f64 {
        LEFT + self.axis.part(at) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, bytes: Bytes) -> f64 {
        self.top + self.height * (1.0 - bytes.0 as f64 / self.most)
    }

    /// The points as they can be seen: of all that share a pixel the one with the most,
    /// so that a peak of a moment is drawn as high as it was.
    fn visible(&self, points: &[Point], of: impl Fn(&Point) -> Bytes) -> Vec<Point> {
        let mut visible: Vec<Point> = Vec::new();
        let mut column = None;
        for point in points {
            let pixel = self.x(point.at).floor();
            match visible.last_mut() {
                Some(last) if column == Some(pixel) => {
                    if of(point) > of(last) {
                        *last = Point {
                            at: last.at,
                            ..*point
                        };
                    }
                }
                _ => visible.push(*point),
            }
            column = Some(pixel);
        }
        // What stood at a pixel's end goes on, whatever was highest in it.
        let mut steps: Vec<Point> = Vec::with_capacity(visible.len() * 2);
        let mut next = points.iter().peekable();
        for point in visible {
            let pixel = self.x(point.at).floor();
            let mut last = point;
            while let Some(in_pixel) = next.next_if(|p| self.x(p.at).floor() <= pixel) {
                last = *in_pixel;
            }
            steps.push(point);
            if of(&last) != of(&point) {
                steps.push(Point {
                    at: self.axis.at((pixel + 1.0 - LEFT) / (WIDTH - LEFT - RIGHT)),
                    ..last
                });
            }
        }
        steps
    }

    /// An area from the axis up, in steps: a total holds until it changes.
    fn area(
        &self,
        out: &mut dyn Write,
        points: &[Point],
        fill: &str,
        of: impl Fn(&Point) -> Bytes,
    ) -> io::Result<()> {
        let base = self.top + self.height;
        write!(
            out,
            "<path fill=\"{fill}\" d=\"M{:.1} {base:.1}",
            self.x(points[0].at)
        )?;
        let mut last = base;
        for point in points {
            let (x, y) = (self.x(point.at), self.y(of(point)));
            write!(out, "L{x:.1} {last:.1}L{x:.1} {y:.1}")?;
            last = y;
        }
        let end = WIDTH - RIGHT;
        writeln!(out, "L{end:.1} {last:.1}L{end:.1} {base:.1}Z\"/>")
    }

    /// Frame, lines at round sizes, times below.
    fn axes(&self, out: &mut dyn Write) -> io::Result<()> {
        let (right, base) = (WIDTH - RIGHT, self.top + self.height);
        for size in ticks(self.most) {
            let y = self.y(Bytes(size));
            writeln!(out, "<path stroke=\"#ccc\" d=\"M{LEFT} {y:.1}H{right}\"/>")?;
            text(
                out,
                LEFT - 6.0,
                y + 4.0,
                "end",
                11,
                &Bytes(size).to_string(),
            )?;
        }
        writeln!(
            out,
            "<path stroke=\"black\" d=\"M{LEFT} {base:.1}H{right}\"/>"
        )?;
        for step in 0..=4_u32 {
            let part = f64::from(step) / 4.0;
            let at = self.axis.at(part);
            let label = seconds(at.0.saturating_sub(self.axis.began().0));
            let x = LEFT + part * (WIDTH - LEFT - RIGHT);
            text(out, x, base + 16.0, "middle", 11, &label)?;
        }
        for (from, to) in self.axis.idle() {
            let (left, right) = (self.x(from), self.x(to));
            let (top, height, width) = (self.top, self.height, right - left);
            writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
                 fill=\"#888\" fill-opacity=\"0.25\"/>"
            )?;
            let label = format!("{} idle", seconds(to.0.saturating_sub(from.0)));
            text(
                out,
                f64::midpoint(left, right),
                base - 5.0,
                "middle",
                10,
                &label,
            )?;
        }
        Ok(())
    }

    fn peak(&self, out: &mut dyn Write, at: Nanos, bytes: Bytes) -> io::Result<()> {
        let (x, y) = (self.x(at), self.y(bytes));
        writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#b00020\"/>"
        )?;
        let (anchor, x) = if x > WIDTH * 0.75 {
            ("end", x - 8.0)
        } else {
            ("start", x + 8.0)
        };
        text(out, x, y - 6.0, anchor, 12, &format!("peak {bytes}"))
    }
}

fn reserved(
    out: &mut dyn Write,
    account: &Account,
    axis: &Axis,
    top: f64,
    height: f64,
) -> io::Result<()> {
    let peak = &account.reserved_peak;
    let most = account.timeline.iter().map(|p| p.reserved).max();
    let plot = Plot::new(
        axis,
        top,
        height,
        most.unwrap_or_default().max(peak.reserved),
    );
    let points = plot.visible(&account.timeline, |p| p.reserved);
    plot.area(out, &points, "#b5c7dd", |p| p.reserved)?;
    plot.axes(out)?;
    plot.peak(out, peak.at, peak.reserved)?;
    text(out, LEFT, top - 10.0, "start", 12, "reserved")
}

fn resident(
    out: &mut dyn Write,
    account: &Account,
    axis: &Axis,
    top: f64,
    height: f64,
) -> io::Result<()> {
    let peak = &account.resident_peak;
    let all = |p: &Point| p.anon + p.file + p.shmem;
    let most = account.timeline.iter().map(all).max();
    let plot = Plot::new(
        axis,
        top,
        height,
        most.unwrap_or_default().max(peak.resident),
    );
    let points = &plot.visible(&account.timeline, all);
    // Stacked: each area hides the lower part of the one before.
    plot.area(out, points, "#de8ec0", all)?;
    plot.area(out, points, "#8cc3eb", |p| p.anon + p.file)?;
    plot.area(out, points, "#f0b45a", |p| p.anon)?;
    plot.axes(out)?;
    plot.peak(out, peak.at, peak.resident)?;
    text(out, LEFT, top - 10.0, "start", 12, "resident:")?;
    let kinds = [
        ("#f0b45a", "anon"),
        ("#8cc3eb", "file"),
        ("#de8ec0", "shmem"),
    ];
    for (index, (fill, name)) in kinds.into_iter().enumerate() {
        let x = LEFT + 90.0 + index as f64 * 80.0;
        let y = top - 20.0;
        writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y:.1}\" width=\"12\" height=\"12\" fill=\"{fill}\"/>"
        )?;
        text(out, x + 17.0, top - 10.0, "start", 12, name)?;
    }
    let sum = "their sum is the kernel's RSS";
    text(out, LEFT + 340.0, top - 10.0, "start", 12, sum)?;
    high_water(out, account, &plot)
}

/// Where the kernel's own maximum is, if one process is all there is: several need not have
/// reached theirs at one time.
fn high_water(out: &mut dyn Write, account: &Account, plot: &Plot<'_>) -> io::Result<()> {
    let [process] = account.processes.as_slice() else {
        return Ok(());
    };
    let bytes = Bytes(process.kernel.resident_peak);
    if bytes == Bytes::ZERO || bytes.0 as f64 > plot.most {
        return Ok(());
    }
    let (y, right) = (plot.y(bytes), WIDTH - RIGHT);
    writeln!(
        out,
        "<path stroke=\"#b00020\" stroke-dasharray=\"4 3\" d=\"M{LEFT} {y:.1}H{right}\"/>"
    )?;
    let label = format!("VmHWM {bytes}");
    text(out, right, plot.top - 10.0, "end", 12, &label)
}

/// Three to six round sizes below a limit: powers of two, or one of their
/// small multiples.
fn ticks(most: f64) -> Vec<u64> {
    let mut step = 1_u64;
    while most / step as f64 > 5.0 && step < 1 << 62 {
        step *= 2;
    }
    let count = (most / step as f64) as u64;
    (0..=count).map(|index| index * step).collect()
}

fn text(
    out: &mut dyn Write,
    x: f64,
    y: f64,
    anchor: &str,
    size: u32,
    text: &str,
) -> io::Result<()> {
    let text = super::flame::escape(text);
    writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
    )
}
