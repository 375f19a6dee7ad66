//! Memory tracer: reserved and resident bytes by call stack, from outside the process.
