//! How nice the current thread is to others (sched(7)).

/// Sets it: -20 goes before all others, 19 behind them. Without the right to go before
/// (`CAP_SYS_NICE`) nothing changes.
pub(crate) fn set_nice(nice: i32) {
    // SAFETY: plain numbers; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}
