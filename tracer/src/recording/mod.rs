//! The recording: a directory of standard Arrow IPC streams.
