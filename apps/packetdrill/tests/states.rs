//! The states of all sockets in a file. A test of its own, because the environment is the process's.

#[macro_use]
mod support;

use outlive::wire::tcp::Flags;
use support::{Host, PEER_PORT, Peer};

#[test]
fn the_file_follows_the_states() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states");
    // SAFETY: this process has no other thread that reads the environment now.
    unsafe { std::env::set_var("SHIM_STATE_FILE", &path) };
    let host = Host::new();
    let lines = || std::fs::read_to_string(&path).unwrap_or_default();
    let states = || -> Vec<String> {
        let text = lines();
        let last = text.lines().filter_map(|line| line.split(' ').next_back());
        last.map(str::to_owned).collect()
    };
    let listener = host.listening();
    assert_eq!(
        lines(),
        format!("root packetdril 1 {listener} tcp 192.168.0.1:8080 *:* LISTEN\n")
    );
    let mut peer = Peer::half_open(&host, PEER_PORT);
    assert_eq!(states(), ["LISTEN", "SYN_RCVD"]);
    peer.send(&host, Flags::ACK, &[]);
    assert_eq!(states(), ["LISTEN", "ESTABLISHED"]);
    let fd = host.accept(listener);
    assert!(lines().contains(&format!(
        "root packetdril 1 {fd} tcp 192.168.0.1:8080 192.0.2.1:40000 ESTABLISHED\n"
    )));
    host.close(listener);
    assert_eq!(states(), ["ESTABLISHED"]);
    assert_eq!(call!(host, shutdown, fd, libc::SHUT_WR), 0);
    assert_eq!(states(), ["FIN_WAIT_1"]);
    peer.ack += 1;
    peer.send(&host, Flags::ACK, &[]);
    assert_eq!(states(), ["FIN_WAIT_2"]);
    peer.send(&host, Flags::FIN.with(Flags::ACK), &[]);
    assert_eq!(states(), ["TIME_WAIT"]);
    host.close(fd);
    assert_eq!(
        states(),
        ["TIME_WAIT"],
        "without a descriptor, it is still there"
    );
    host.sleep_ms(61_000);
    assert_eq!(states(), Vec::<String>::new());
}
