//! Outlive's TCP and UDP behind Berkeley sockets, with the errors of Linux.
//!
//! [`Sockets`] is a process's table of descriptors on one stack: every method is a system call of that
//! name and gives what Linux gives, an [`Errno`] where that gives one. There are no globals: a program may
//! have several. What time is and how a call waits is the [`Driver`]'s business, so that the same sockets run
//! on a stack with threads ([`Threaded`]) and in virtual time.
//!
//! | file | job |
//! |---|---|
//! | `sockets`, `descriptor`, `driver` | the table; what a descriptor stands for; time and waiting |
//! | `socket`, `choices`, `address` | one socket, what was chosen for it, `sockaddr` |
//! | `open`, `fast_open`, `transfer`, `close` | the calls of a connection's life |
//! | `error_queue`, `ancillary` | notices of zero-copy writes and of times; what comes beside the bytes |
//! | `message` | `iovec` and `msghdr` as the caller's memory holds them |
//! | `options`, `tcp_info` | `getsockopt` and `setsockopt`, one file for each level |
//! | `datagram` | sockets for datagrams |
//! | `control` | `fcntl` and `ioctl` |
//! | `readiness`, `poll`, `epoll` | what is ready; who asks once, who keeps a list |
//! | `pipe` | `pipe` and `splice` |
//! | `ffi` | the functions of `include/outlive.h` |
//!
//! Left out: times of what connections receive (datagrams have theirs), signals (`SIGPIPE`, `SIGIO`, `SIGURG`), and
//! two threads that wait for the same direction of one socket on a stack with threads.
#![allow(
    clippy::disallowed_methods,
    reason = "this is a shell around the core: it may read a clock"
)]

mod address;
mod ancillary;
mod choices;
mod close;
mod control;
mod datagram;
mod descriptor;
mod driver;
mod epoll;
mod errno;
mod error_queue;
mod fast_open;
pub mod ffi;
pub mod message;
mod open;
mod options;
mod pipe;
mod poll;
mod readiness;
mod socket;
mod sockets;
mod tcp_info;
mod transfer;

pub use address::Name;
pub use descriptor::Descriptor;
pub use driver::{Driver, Limit, Threaded, Waited};
pub use epoll::Event;
pub use errno::{Errno, Result};
pub use sockets::{Defaults, FastOpenPolicy, SocketState, Sockets};
pub use tcp_info::{TCP_INFO_BYTES, TcpInfo};
