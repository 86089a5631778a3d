//! The states of all TCP sockets in a file, in the columns of FreeBSD's `sockstat -s`, so that a script can ask
//! for them. The file is the one that `SHIM_STATE_FILE` names.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use outlive_posix::{SocketState, Sockets};
use parking_lot::Mutex;

/// The file, and what is in it.
pub(crate) struct StateFile {
    path: Option<PathBuf>,
    written: Mutex<Option<String>>,
}

impl StateFile {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            written: Mutex::new(None),
        }
    }

    /// The file that the environment names, if any.
    pub(crate) fn from_environment() -> Self {
        Self::new(std::env::var_os("SHIM_STATE_FILE").map(PathBuf::from))
    }

    /// Brings the file up to date.
    pub(crate) fn update(&self, sockets: &Sockets) {
        let Some(path) = &self.path else {
            return;
        };
        let mut text = String::new();
        for state in sockets.states() {
            text.push_str(&line(&state));
        }
        let mut written = self.written.lock();
        if written.as_ref() == Some(&text) {
            return;
        }
        if let Err(error) = std::fs::write(path, &text) {
            eprintln!("{}: {error}", path.display());
        }
        *written = Some(text);
    }
}

fn line(socket: &SocketState) -> String {
    let end = |address: Option<SocketAddr>| match address {
        Some(address) if address.ip().is_unspecified() => format!("*:{}", address.port()),
        Some(address) => address.to_string(),
        None => "*:*".to_owned(),
    };
    // A connection without a descriptor keeps the columns.
    let descriptor = socket.descriptor.unwrap_or(0);
    let mut line = String::new();
    let _ = writeln!(
        line,
        "root packetdril 1 {descriptor} tcp {} {} {}",
        end(socket.local),
        end(socket.remote),
        name(socket.state)
    );
    line
}

/// FreeBSD's name of a state.
fn name(state: &str) -> String {
    match state {
        "SYN-RECEIVED" => "SYN_RCVD".to_owned(),
        other => other.replace('-', "_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_columns_of_sockstat() {
        let state = SocketState {
            descriptor: Some(3),
            local: Some("192.168.0.1:8080".parse().unwrap()),
            remote: Some("192.0.2.1:40000".parse().unwrap()),
            state: "SYN-RECEIVED",
        };
        assert_eq!(
            line(&state),
            "root packetdril 1 3 tcp 192.168.0.1:8080 192.0.2.1:40000 SYN_RCVD\n"
        );
        let fresh = SocketState {
            descriptor: Some(4),
            local: None,
            remote: None,
            state: "CLOSED",
        };
        assert_eq!(line(&fresh), "root packetdril 1 4 tcp *:* *:* CLOSED\n");
    }

    #[test]
    fn states_have_freebsds_names() {
        assert_eq!(name("FIN-WAIT-1"), "FIN_WAIT_1");
        assert_eq!(name("TIME-WAIT"), "TIME_WAIT");
    }
}
