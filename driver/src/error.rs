//! Why a device does not open: one line per case, and it says what to do.

use std::io;

/// Opening a device failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `/dev/net/tun` is missing.
    #[error(
        "/dev/net/tun: no such device; load the tun module (modprobe tun), or give the container the device (--device /dev/net/tun)"
    )]
    NoTunDevice,
    /// The process may not do this.
    #[error("{what}: permission denied; run as root, inside `unshare -Urn`, or {instead}")]
    Permission {
        /// What was tried.
        what: String,
        /// What an ordinary user can do about it.
        instead: String,
    },
    /// No interface has this name.
    #[error("interface {name} does not exist; there are: {existing}")]
    NoSuchInterface {
        /// The name asked for.
        name: String,
        /// The names that exist.
        existing: String,
    },
    /// The interface is administratively down.
    #[error("interface {name} is down; bring it up: ip link set {name} up")]
    Down {
        /// The interface.
        name: String,
    },
    /// Another process has the interface open.
    #[error(
        "interface {name} is busy: another process has it open; stop that one, or choose another name"
    )]
    Busy {
        /// The name asked for.
        name: String,
    },
    /// Linux limits interface names to 15 bytes without `/`, `:` or white space.
    #[error(
        "interface name {name:?} is not possible: 1 to 15 bytes, without '/', ':' or white space"
    )]
    BadName {
        /// The name asked for.
        name: String,
    },
    /// Outside what IP (RFC 791 §3.1: 68 bytes at least) and the device allow.
    #[error("MTU {mtu} is not possible on {name}: use {least} to {most}")]
    BadMtu {
        /// The interface.
        name: String,
        /// The MTU asked for.
        mtu: usize,
        /// The smallest possible one.
        least: usize,
        /// The largest possible one.
        most: usize,
    },
    /// The interface exists and is something else.
    #[error("interface {name} exists but cannot be opened as {wanted}: {why}")]
    WrongKind {
        /// The interface.
        name: String,
        /// What was asked for.
        wanted: &'static str,
        /// What stands in the way.
        why: String,
    },
    /// An option has a value that cannot be.
    #[error("{0}")]
    BadOption(String),
    /// Anything else that the kernel refused.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl OpenError {
    /// For a system call that just failed.
    pub(crate) fn system(doing: impl Into<String>, source: io::Error) -> Self {
        Self::System {
            doing: doing.into(),
            source,
        }
    }
}
