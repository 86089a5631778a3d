//! Addresses from a server: a DHCP client for IPv4 (RFC 2131).
//!
//! | file | job |
//! |---|---|
//! | [`message`] | what is sent and what comes |
//! | `lease` | what a server gave, as far as it makes sense |
//! | `client` | the exchange, without I/O |
//! | `task` | the client on a stack: its socket, its addresses and routes |
//!
//! Left out: an address from before a restart (INIT-REBOOT), INFORM, authentication, and giving the address back when
//! the stack ends: the lease runs out.

mod client;
mod lease;
pub mod message;
mod task;
#[cfg(test)]
mod tests;

pub use client::{Action, Client};
pub use lease::Lease;
pub use task::start;

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Its name, for servers that enter it somewhere; at most 255 bytes of it are told.
    pub host_name: Option<String>,
}
