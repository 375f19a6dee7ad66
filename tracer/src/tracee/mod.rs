//! The traced command: which file it is, how it is started and as whom, how signals
//! reach it, how it ends; and what the tracer itself may do meanwhile: its capabilities, its priority.

pub mod capabilities;
pub mod cgroup;
mod child;
pub mod command;
pub mod guard;
mod inherited;
pub mod launch;
pub(crate) mod priority;
pub mod process;
pub mod signals;
pub mod status;
pub mod user;

pub use capabilities::Capabilities;
pub use command::{Command, Environment};
pub use guard::Guard;
pub use launch::{Launch, LaunchError};
pub use process::Target;
pub use signals::Signals;
pub use status::{Ended, Status};
pub use user::{User, UserError};
