use super::*;

fn signals() -> Signals {
    Signals {
        fd: SignalFd::new(&SigSet::empty()).unwrap(),
        presses: VecDeque::new(),
    }
}

const PRESS: Received = Received {
    signal: libc::SIGINT,
    sender: None,
};

#[test]
fn the_third_press_within_two_seconds_kills() {
    let start = Instant::now();
    let mut signals = signals();
    let mut press = |ms| signals.decide(PRESS, true, start + Duration::from_millis(ms));
    assert_eq!(press(0), Action::Nothing);
    assert_eq!(press(1500), Action::Nothing);
    assert_eq!(press(2000), Action::Nothing, "the first is forgotten");
    assert_eq!(press(2100), Action::PassOn(libc::SIGKILL));
}

#[test]
fn a_signal_is_passed_on_once() {
    let mut signals = signals();
    let now = Instant::now();
    for signal in PASSED_ON.map(|signal| signal as i32) {
        for sender in [None, Some(Pid(7))] {
            let received = Received { signal, sender };
            assert_eq!(signals.decide(received, true, now), Action::Nothing);
            if received != PRESS {
                let action = signals.decide(received, false, now);
                assert_eq!(action, Action::PassOn(signal));
            }
        }
    }
}

#[test]
fn senders_below_the_target_are_known() {
    let own = Pid(std::process::id());
    let parent = Pid(std::os::unix::process::parent_id());
    assert!(descends_from(own, own));
    assert!(descends_from(own, parent));
    assert!(!descends_from(parent, own));
    assert!(!descends_from(Pid(0), own));
    assert!(!descends_from(Pid(u32::MAX), own));
}
