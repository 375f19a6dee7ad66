//! Colours of frames. All are light enough for black text.

/// Red, green, blue.
pub(super) type Colour = (u8, u8, u8);

/// Not a function: a category or a reason in brackets.
const GREY: Colour = (200, 200, 200);

/// Hues of modules, muted, apart from each other for most kinds of colour
/// blindness (after Okabe and Ito, lightened).
const MODULES: [Colour; 8] = [
    (240, 180, 90),
    (140, 195, 235),
    (120, 205, 170),
    (240, 228, 120),
    (150, 175, 225),
    (238, 150, 110),
    (222, 165, 200),
    (190, 205, 130),
];

/// From nothing resident to everything.
const COLD: Colour = (203, 220, 240);
const WARM: Colour = (253, 219, 140);
const HOT: Colour = (226, 74, 51);

/// Colour of a frame by its module; frames of one module differ a little, so
/// that neighbours can be told apart.
pub(super) fn of_module(module: Option<&str>, name: &str) -> Colour {
    let Some(module) = module else {
        return GREY;
    };
    let (red, green, blue) = MODULES[(hash(module) % MODULES.len() as u64) as usize];
    let lighter = |part: u8| part + ((255 - part) as u64 * (hash(name) % 5) / 12) as u8;
    (lighter(red), lighter(green), lighter(blue))
}

/// Colour of a frame by the share of it that is resident. The square root gives
/// the small shares, which matter here, most of the scale.
pub(super) fn of_share(part: u64, whole: u64) -> Colour {
    let share = match whole {
        0 => 0.0,
        whole => (part as f64 / whole as f64).clamp(0.0, 1.0).sqrt(),
    };
    match share {
        s if s < 0.5 => between(COLD, WARM, s * 2.0),
        s => between(WARM, HOT, s * 2.0 - 1.0),
    }
}

/// Nothing changed.
const SAME: Colour = (240, 240, 240);
/// All of it is the first run's.
const LESS: Colour = (90, 150, 215);

/// Colour of a frame by the part of it that is the second run's: white for half, blue for less, red
/// for more.
pub(super) fn of_change(head: u64, both: u64) -> Colour {
    let share = match both {
        0 => 0.5,
        both => (head as f64 / both as f64).clamp(0.0, 1.0),
    };
    // Half as much again is plain to see.
    let strength = ((share - 0.5).abs() * 2.0).sqrt();
    match share < 0.5 {
        true => between(SAME, LESS, strength),
        false => between(SAME, HOT, strength),
    }
}

fn between(from: Colour, to: Colour, at: f64) -> Colour {
    let mix = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * at) as u8;
    (mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// FNV-1a: the same colour in every run.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_go_from_cold_to_hot() {
        assert_eq!(of_share(0, 10), COLD);
        assert_eq!(of_share(25, 100), WARM);
        assert_eq!(of_share(10, 10), HOT);
        assert_eq!(of_share(20, 10), HOT);
        assert_eq!(of_share(1, 0), COLD);
    }

    #[test]
    fn what_grew_is_red_and_what_shrank_is_blue() {
        assert_eq!(of_change(5, 10), SAME);
        assert_eq!(of_change(0, 0), SAME);
        assert_eq!(of_change(10, 10), HOT);
        assert_eq!(of_change(0, 10), LESS);
        let (red, _, blue) = of_change(6, 11);
        assert!(red > blue);
    }

    #[test]
    fn a_module_has_one_hue() {
        assert_eq!(
            of_module(Some("libc.so.6"), "f"),
            of_module(Some("libc.so.6"), "f")
        );
        assert_eq!(of_module(None, "[slack]"), GREY);
    }
}
