//! HTTP/1.1 server for a folder of media, on the Outlive stack or on the kernel's.
//!
//! Three layers: [`http`] does no I/O, bytes in and bytes out; [`media`] knows files; and the
//! connection loop joins the two over a [`transport::Transport`]. A film is sent as slices of its
//! memory map, never copied in user space. A response is a function of the request, the file's content
//! and the few logged facts of its host (`facts`), so that another host can repeat it.
//!
//! **Not there:** TLS, HTTP/2, compression, access control, log files.

pub mod connection;
mod facts;
pub mod http;
pub mod media;
mod page;
pub mod pool;
mod response;
pub mod server;
mod service;
pub mod statistics;
pub mod timers;
pub mod transport;
pub mod uploads;
