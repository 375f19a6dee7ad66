//! Drawing. inferno lays the frames out and brings the script that zooms and
//! searches; what a frame says and its colour are put in afterwards.
//!
//! inferno counts samples and knows nothing of units or of a second figure, and
//! it takes names apart at `;` and at numbers. So it is given numbers for names,
//! and each frame of its output is completed from the node of that number. No
//! name from a traced program passes through it.

use super::palette::{self, Colour};
use super::tree::{Node, Tree};
use crate::reports::text::{count, cut, cut_front, percent, width};
use crate::symbols::short_name;
use crate::units::Bytes;
use inferno::flamegraph::{
    self, Direction, Options,
    color::{BackgroundColor, StrokeColor},
};
use std::fmt::Write as _;
use std::io::{self, Write};

/// The narrowest frame that is drawn, as a part of the whole: half a pixel on a
/// wide screen.
const NARROWEST: u64 = 5_000;
/// Size of letters, and how wide one is; in pixels.
const FONT_SIZE: usize = 12;
const LETTER: f64 = 7.08;
/// Width of the picture before a browser makes it fit; in pixels.
const WIDTH: f64 = 1200.0;

/// What colours tell, and what a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The module of a frame, and its bytes.
    Module,
    /// How much of its bytes is resident.
    Resident,
    /// How much of what two runs came to together is the second one's: bytes, or calls.
    Change {
        /// Whether bytes are counted.
        of_bytes: bool,
    },
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    /// First line.
    pub title: String,
    /// Second line.
    pub subtitle: String,
    /// What colours tell, and what a frame says.
    pub kind: Kind,
    /// The stacks.
    pub tree: &'a Tree<'a>,
}

impl Picture<'_> {
    /// Writes the SVG.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let total = self.tree.total();
        if total == Bytes::ZERO {
            return self.write_empty(out);
        }
        let mut lines = self.tree.folded(Bytes((total.0 / NARROWEST).max(1)));
        // As a chart, inferno keeps the order of the lines, from the last on.
        lines.reverse();
        let mut options = Options::default();
        options.title = cut(&self.title, 95);
        // Room for the legend beside it.
        options.subtitle = Some(cut(
            &self.subtitle,
            if self.has_legend() { 110 } else { 150 },
        ));
        options.stroke_color = StrokeColor::Color((255, 255, 255).into());
        options.flame_chart = true;
        options.direction = Direction::Inverted;
        options.font_size = FONT_SIZE;
        options.min_width = 0.0;
        options.bgcolors = Some(BackgroundColor::Flat((255, 255, 255).into()));
        options.count_name = "bytes".to_owned();
        options.name_type = String::new();
        let mut drawn = Vec::new();
        flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut drawn)?;
        let drawn = String::from_utf8(drawn).map_err(io::Error::other)?;
        out.write_all(self.complete(&drawn).as_bytes())
    }

    /// Puts in what inferno does not know.
    fn complete(&self, drawn: &str) -> String {
        // The name in a box is the title up to the first line break, rather
        // than up to the last parenthesis.
        let drawn = drawn.replace(r#".replace(/\([^(]*\)$/,"")"#, r#".split("\n")[0]"#);
        let (head, frames) = drawn
            .split_once("<svg id=\"frames\"")
            .unwrap_or((&drawn, ""));
        let mut out = String::with_capacity(drawn.len() * 2);
        out.push_str(head);
        if self.has_legend() {
            push_legend(&mut out);
        }
        out.push_str("<svg id=\"frames\"");
        let mut pieces = frames.split("<g><title>");
        out.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            out.push_str("<g><title>");
            match self.frame(piece) {
                Some(frame) => out.push_str(&frame),
                None => out.push_str(piece),
            }
        }
        out
    }

    /// One frame, from its title's text on: `7 (4,096 bytes, 1.00%)</title>…`.
    fn frame(&self, piece: &str) -> Option<String> {
        let (title, rest) = piece.split_once("</title>")?;
        let number = title.split_once(' ')?.0;
        let node = match number {
            "all" => &self.tree.nodes()[0],
            number => self.tree.nodes().get(number.parse::<usize>().ok()?)?,
        };
        let (before, rest) = rest.split_once("fill=\"")?;
        let (_, rest) = rest.split_once('"')?;
        let (text, rest) = rest.split_once("</text>")?;
        let (text, _) = text.rsplit_once('>')?;
        let (red, green, blue) = self.colour(node);
        let wide: f64 = before
            .split_once("width=\"")?
            .1
            .split_once('%')?
            .0
            .parse()
            .ok()?;
        let name = short_name(&self.tree.step(node).name);
        let label = label(&name, wide / 100.0 * (WIDTH - 20.0));
        let title = escape(&self.title_of(node, &name));
        let label = escape(&label);
        Some(format!(
            "{title}</title>{before}fill=\"rgb({red},{green},{blue})\"{text}>{label}</text>{rest}"
        ))
    }

    fn colour(&self, node: &Node) -> Colour {
        match self.kind {
            Kind::Resident => palette::of_share(node.resident.0, node.bytes.0),
            Kind::Change { .. } => palette::of_change(node.resident.0, node.bytes.0),
            Kind::Module => {
                let step = self.tree.step(node);
                palette::of_module(step.module.as_deref(), &step.name)
            }
        }
    }

    /// What a browser shows of a frame under the pointer.
    fn title_of(&self, node: &Node, name: &str) -> String {
        let mut title = match self.kind {
            Kind::Change { of_bytes } => changed(node, name, of_bytes),
            Kind::Module | Kind::Resident => self.took(node, name),
        };
        let name = Some(self.tree.step(node).name.as_str()).filter(|full| *full != name);
        let module = self.tree.step(node).module.as_deref();
        for line in [name, self.tree.place(node), module].into_iter().flatten() {
            title.push('\n');
            title.push_str(line);
        }
        title
    }

    /// What a frame took of all.
    fn took(&self, node: &Node, name: &str) -> String {
        let total = self.tree.total();
        let mut title = format!(
            "{name}\n{} ({} bytes), {} of {total}",
            node.bytes,
            count(node.bytes.0),
            percent(node.bytes.0, total.0)
        );
        if self.kind == Kind::Resident {
            let share = percent(node.resident.0, node.bytes.0);
            let _ = write!(
                title,
                "\n{} of it resident at the resident peak ({share})",
                node.resident
            );
        }
        title
    }

    fn has_legend(&self) -> bool {
        self.kind == Kind::Resident
    }

    /// Nothing to draw: a picture that says so.
    fn write_empty(&self, out: &mut dyn Write) -> io::Result<()> {
        let line = |y: u32, size: u32, text: &str| {
            let text = escape(&cut(text, 150));
            format!("<text x=\"600\" y=\"{y}\" font-size=\"{size}\">{text}</text>\n")
        };
        writeln!(
            out,
            "<?xml version=\"1.0\" standalone=\"no\"?>\n\
             <svg version=\"1.1\" width=\"1200\" height=\"110\" viewBox=\"0 0 1200 110\" \
             xmlns=\"http://www.w3.org/2000/svg\" font-family=\"monospace\" text-anchor=\"middle\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}{}{}</svg>",
            line(24, 17, &self.title),
            line(48, 12, &self.subtitle),
            line(84, 12, "Nothing was recorded.")
        )
    }
}

/// What a frame came to in the first of two runs and in the second.
fn changed(node: &Node, name: &str, of_bytes: bool) -> String {
    let (base, head) = (node.bytes.saturating_sub(node.resident).0, node.resident.0);
    let amount = |value: u64| match of_bytes {
        true => Bytes(value).to_string(),
        false => count(value),
    };
    let sign = match head.cmp(&base) {
        std::cmp::Ordering::Less => "-",
        std::cmp::Ordering::Equal => "=",
        std::cmp::Ordering::Greater => "+",
    };
    let change = match head.abs_diff(base) {
        0 => "no change".to_owned(),
        more => format!("{sign}{}, {}", amount(more), percent(more, base)),
    };
    format!(
        "{name}\n{} before, {} now ({change})",
        amount(base),
        amount(head)
    )
}

/// A name cut to fit a width in pixels; nothing where not even a part fits.
fn label(name: &str, pixels: f64) -> String {
    let columns = ((pixels - 3.0) / LETTER).max(0.0) as usize;
    match columns {
        _ if width(name) <= columns => name.to_owned(),
        0..3 => String::new(),
        columns => cut_front(name, columns),
    }
}

/// What the colours mean.
fn push_legend(out: &mut String) {
    const STEPS: u64 = 24;
    const STEP: u64 = 5;
    for step in 0..STEPS {
        // The scale is that of the colours: its middle is a quarter.
        let (red, green, blue) = palette::of_share(step * step, (STEPS - 1) * (STEPS - 1));
        let x = 10 + step * STEP;
        let _ = write!(
            out,
            "<rect x=\"{x}\" y=\"30\" width=\"{STEP}\" height=\"10\" fill=\"rgb({red},{green},{blue})\"/>"
        );
    }
    for (x, text) in [(10, "0"), (62, "25"), (114, "100 % resident")] {
        let _ = write!(
            out,
            "<text x=\"{x}\" y=\"52\" style=\"font-size:10px\">{text}</text>"
        );
    }
}

/// Text within XML.
pub(in crate::reports) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no way to write these.
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
