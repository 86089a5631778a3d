//! Outlive as a shared object that Google's packetdrill can drive (`--so_filename`), in virtual time.
//!
//! | file | job |
//! |---|---|
//! | `interface` | the struct of function pointers, and the one symbol that fills it |
//! | `calls` | those functions: the calls of [`outlive_posix::ffi`], and what surrounds each |
//! | `clock` | virtual time, and two threads that call in at once |
//! | `network` | the stack on a wire that ends here: packets in, packets out |
//! | `flags`, `sysctl`, `offloads` | what the caller chooses: `--so_flags`, the sysctls that a script sets, and what it switches off |
//! | `state_file` | the states of all sockets, for scripts that ask for them |
//! | `preload` | `getsockopt` for callers that go to the C library |
//!
//! `README.md` says how to run it.
#![allow(
    clippy::disallowed_methods,
    reason = "this is a shell around the core: it may look at the process that it is in"
)]

mod calls;
mod clock;
mod flags;
mod interface;
mod network;
mod offloads;
mod preload;
mod state_file;
mod sysctl;

pub use interface::{Interface, packetdrill_interface_init};
