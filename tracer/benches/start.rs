//! What tracing adds to a command that does nothing: the time until it runs, and the time from
//! then until everything is reported.
//!
//! `cargo xtask bench start [ROUNDS]`. The command is `date`, which says when it ran. Rounds with
//! and without the tracer take turns, and medians count; processor time is that of the tracer and
//! the command together.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a round took.
struct Round {
    until_it_ran: Duration,
    from_then: Duration,
    used: Duration,
}

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let rounds: usize = words
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(11);
    let out = tempfile::tempdir().expect("a folder");
    let tracer = Path::new(env!("CARGO_BIN_EXE_tracer"));
    let (mut plain, mut traced) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain.push(round(Command::new("date").arg("+%s%N")));
        let mut command = Command::new(tracer);
        command.arg("--quiet").arg("--out-dir").arg(out.path());
        traced.push(round(command.args(["--", "date", "+%s%N"])));
    }
    println!("| added to `date`, medians of {rounds} | ms |");
    println!("|---|---:|");
    for (what, of) in [
        (
            "until it runs",
            (|round| round.until_it_ran) as fn(&Round) -> _,
        ),
        ("from then until all is reported", |round| round.from_then),
        ("wall time", |round| round.until_it_ran + round.from_then),
        ("processor time", |round| round.used),
    ] {
        let added = median(&traced, of) - median(&plain, of);
        println!("| {what} | {added:.0} |");
    }
}

fn round(command: &mut Command) -> Round {
    let (began, used) = (SystemTime::now(), processor_time());
    let output = command.output().expect("the command starts");
    let ended = SystemTime::now();
    assert!(output.status.success(), "{command:?}: {output:?}");
    let told = String::from_utf8_lossy(&output.stdout);
    let ran = UNIX_EPOCH + Duration::from_nanos(told.trim().parse().expect("nanoseconds"));
    Round {
        until_it_ran: ran
            .duration_since(began)
            .expect("a clock that goes forward"),
        from_then: ended
            .duration_since(ran)
            .expect("a clock that goes forward"),
        used: processor_time() - used,
    }
}

/// Of children that were waited for.
fn processor_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    let usage = usage.expect("a number that is known");
    let duration = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000)
    };
    duration(usage.user_time()) + duration(usage.system_time())
}

/// In milliseconds.
fn median(rounds: &[Round], of: impl Fn(&Round) -> Duration) -> f64 {
    let mut times: Vec<Duration> = rounds.iter().map(of).collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
