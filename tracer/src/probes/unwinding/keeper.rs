//! Keeps the tables up with what the target maps.

use super::tables::{LoadError, Prepared, Tables};
use crate::tracee::priority::set_nice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause between two looks at what the programs met. Between mapping a library
/// and calling it, the dynamic linker relocates it, which takes about as long.
const PAUSE: Duration = Duration::from_millis(1);

/// A thread that prepares each file that the programs meet and do not know.
pub struct Keeper {
    /// None once it was joined.
    thread: Option<JoinHandle<Result<Vec<Prepared>, LoadError>>>,
    stop: Arc<AtomicBool>,
}

impl Keeper {
    /// Starts it, before the target runs. `prepared` is what the tables have of
    /// the files that the target is known to load.
    ///
    /// # Errors
    ///
    /// If the thread can't be started.
    pub fn start(mut tables: Tables, mut prepared: Vec<Prepared>) -> Result<Self, LoadError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("unwind".into())
            .spawn(move || {
                // Every stack that comes before its table costs a copy.
                set_nice(-5);
                while !stopped.load(Ordering::Acquire) {
                    prepared.extend(tables.add_unknown()?);
                    prepared.extend(tables.add_wanted()?);
                    std::thread::sleep(PAUSE);
                }
                prepared.extend(tables.add_large()?);
                tables.all_fit().map(|()| prepared)
            });
        let thread = Some(thread.map_err(LoadError::Thread)?);
        Ok(Self { thread, stop })
    }

    /// Ends the thread. What was prepared, in order.
    ///
    /// # Errors
    ///
    /// If the kernel refused a table: later files had none. If not all had room.
    pub fn finish(mut self) -> Result<Vec<Prepared>, LoadError> {
        self.stop.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(Vec::new()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}
