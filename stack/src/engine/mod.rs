//! Threads, channels, timers and wake-ups: the only module that spawns, sleeps or reads a clock.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the one place that owns threads and the clock"
)]

pub mod clock;
mod egress;
mod executor;
mod poller;
mod timer_wheel;
mod wake;

pub use egress::{Always, Permit};
pub use executor::Task;
