//! The traced command: which file it is, how it is started, how signals reach
//! it, how it ends.

mod child;
pub mod command;
mod inherited;
pub mod launch;
pub mod process;
pub mod signals;
pub mod status;

pub use command::{Command, Environment};
pub use launch::{Launch, LaunchError};
pub use process::Target;
pub use signals::Signals;
pub use status::{Ended, Status};
