//! What is said of losses at the end of a run, in one line.

use tracer::events::{Loss, LossCause, Lost};

/// Why the kernel side had no room: what a larger ring buffer helps against.
const FULL: LossCause = LossCause::RING_FULL;

/// A call of the malloc family that was entered and not seen to return.
const NO_RETURN: LossCause = LossCause::Program(Loss::NoReturn);

/// The line; nothing where nothing was lost.
pub(crate) fn sentence(losses: &[Lost]) -> Option<String> {
    let of = |cause: Option<LossCause>| {
        let counts = losses
            .iter()
            .filter(|l| cause.is_none_or(|cause| l.cause == cause));
        counts.fold(0_u64, |sum, lost| sum.saturating_add(lost.count))
    };
    let all = of(None);
    if all == 0 {
        return None;
    }
    let (full, left) = (of(Some(FULL)), of(Some(NO_RETURN)));
    let others = all - full - left;
    let mut parts = Vec::new();
    if full > 0 {
        let text = plural(full, "event found", "events found");
        parts.push(format!("{text} no room (a larger --ring-buffer helps)"));
    }
    if left > 0 {
        let text = plural(left, "call", "calls");
        parts.push(format!(
            "{text} of the malloc family did not return (left by longjmp or an exception, or by \
             the end of a thread)"
        ));
    }
    if others > 0 {
        let text = plural(others, "event was lost", "events were lost");
        parts.push(format!("{text} otherwise"));
    }
    Some(format!(
        "not all is counted: {}; the summary says which",
        parts.join("; ")
    ))
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(cause: LossCause, count: u64) -> Lost {
        Lost {
            cause,
            probe: "alloc".to_owned(),
            count,
        }
    }

    #[test]
    fn the_remedy_fits_the_cause() {
        assert_eq!(sentence(&[]), None);
        assert_eq!(sentence(&[lost(FULL, 0)]), None);
        let left = sentence(&[lost(NO_RETURN, 1)]).expect("a line");
        assert!(
            left.contains("1 call of the malloc family did not return"),
            "{left}"
        );
        assert!(!left.contains("ring-buffer"), "{left}");
        let both = sentence(&[lost(FULL, 2), lost(LossCause::Program(Loss::Unreadable), 1)])
            .expect("a line");
        assert!(
            both.contains("2 events found no room (a larger --ring-buffer"),
            "{both}"
        );
        assert!(both.contains("1 event was lost otherwise"), "{both}");
    }
}
