//! The moments that the program named, as lines through both plots.

use super::axis::Axis;
use super::{HEIGHT, LEFT, RIGHT, TOP, WIDTH, text};
use crate::reports::Concluded;
use crate::reports::text::{cut, printable};
use std::io::{self, Write};

/// Lines at most: more could not be told apart.
const MOST: usize = 40;

/// Characters of a name.
const NAME: usize = 24;

/// Rows that names are written in, so that neighbours do not cover each other.
const ROWS: usize = 3;

/// Draws those within what is shown.
pub(super) fn draw(out: &mut dyn Write, input: &Concluded, axis: &Axis) -> io::Result<()> {
    let shown = input.account.began..=input.account.ended;
    let within = || input.marks.iter().filter(|mark| shown.contains(&mark.time));
    for (index, mark) in within().take(MOST).enumerate() {
        let x = LEFT + axis.part(mark.time) * (WIDTH - LEFT - RIGHT);
        let (top, bottom) = (TOP - 4.0, HEIGHT - 32.0);
        writeln!(
            out,
            "<path stroke=\"#444\" stroke-dasharray=\"2 3\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>"
        )?;
        let y = top + 12.0 + 11.0 * (index % ROWS) as f64;
        let (anchor, x) = match x > WIDTH * 0.85 {
            true => ("end", x - 3.0),
            false => ("start", x + 3.0),
        };
        text(out, x, y, anchor, 10, &cut(&printable(&mark.name), NAME))?;
    }
    if within().nth(MOST).is_some() {
        let told = format!("the first {MOST} marks");
        text(out, LEFT, HEIGHT - 6.0, "start", 10, &told)?;
    }
    Ok(())
}
