//! Threads, channels, timers and wake-ups: the only module that spawns, sleeps or reads a clock.
//!
//! | file | job |
//! |---|---|
//! | `config`, `build`, `stack` | choices; the stages put together; the handle |
//! | `stages`, `work` | the stages composed by plain calls; what passes between them |
//! | `stepped` | topology without threads, in virtual time |
//! | `run_to_completion`, `queue`, `sending`, `leader` | topology with a thread per queue; who sends, who receives |
//! | `pipeline`, `pipeline_stages` | topology with a thread per stage |
//! | `timers`, `timer_wheel` | who is to be looked at again, and when |
//! | `egress` | the one way out for frames, with the permission check |
//! | `executor`, `parker` | tasks; application threads that wait |
//! | `poller`, `wake`, `clock` | sleep, waking, time |
//! | `sleeper`, `notice`, `drives` | the orderings by which no wake-up is lost, nor a queue without a leader |
#![allow(
    clippy::disallowed_methods,
    reason = "this is the one place that owns threads and the clock"
)]

/// What wake-ups are made of. A module of its own, since the model test puts other atomics in its place.
mod atomic {
    pub(super) use std::sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}
mod build;
pub mod clock;
mod config;
mod drives;
mod egress;
mod executor;
mod leader;
mod notice;
mod parker;
mod pipeline;
mod pipeline_stages;
mod poller;
mod queue;
mod run_to_completion;
mod sending;
mod sleeper;
mod stack;
mod stages;
mod stepped;
#[cfg(test)]
mod tests;
mod timer_wheel;
mod timers;
mod wake;
mod work;

pub use build::StartError;
pub use config::{Config, Topology};
pub use egress::{Always, Permit};
pub(crate) use executor::Executor;
pub use executor::Task;
pub use stack::Stack;
pub(crate) use stack::WeakStack;
pub use stepped::Stepped;
