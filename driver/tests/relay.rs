//! Two kernels joined by a bad link: each has a TAP in a network namespace of its own.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the kernels are the hosts"
)]

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use common::in_namespace;
use common::peer::{HOST, PEER, pattern};
use nix::sched::{CloneFlags, unshare};
use outlive_driver::impairment::Impairment;
use outlive_driver::relay::Relay;
use outlive_driver::{Interface, tuntap};

const BYTES: usize = 3_000_000;

fn open_tap(address: IpAddr, offload: bool) -> Interface {
    let host_address = Some((address, 24));
    tuntap::Options {
        host_address,
        offload,
        ..tuntap::Options::tap("tap7")
    }
    .open()
    .unwrap()
}

/// Sends a stream from one kernel to the other and back through the link.
fn transfer(offload: bool) {
    let (to_server, interface_of_client) = mpsc::channel();
    let (to_client, link_is_up) = mpsc::channel();
    let client = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        to_server.send(open_tap(PEER.into(), offload)).unwrap();
        link_is_up.recv().unwrap();
        let mut stream = TcpStream::connect((HOST, 80)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut back = vec![0; BYTES];
        let mut half = stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || half.write_all(&pattern(BYTES)).unwrap());
        stream.read_exact(&mut back).unwrap();
        writer.join().unwrap();
        assert!(back == pattern(BYTES), "what came back is what was sent");
    });
    let a = open_tap(HOST.into(), offload);
    let b = interface_of_client.recv().unwrap();
    let impairment = Impairment {
        loss: 0.01,
        duplicate: 0.01,
        reorder: 0.01,
        corrupt: 0.005,
        delay: Duration::from_micros(200),
        ..Impairment::default()
    };
    let relay = Relay::start(a, b, impairment.clone(), impairment, 7).unwrap();
    let listener = TcpListener::bind((HOST, 80)).unwrap();
    to_client.send(()).unwrap();
    let (mut stream, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), PEER);
    std::io::copy(
        &mut stream.try_clone().unwrap().take(BYTES as u64),
        &mut stream,
    )
    .unwrap();
    client.join().unwrap();
    let totals = relay.stop().unwrap();
    for link in [totals.to_a, totals.to_b] {
        assert!(
            link.lost > 0 && link.corrupted > 0 && link.duplicated > 0,
            "{link:?}"
        );
        let mean = link.delivered_bytes / link.delivered;
        assert!(
            mean <= 1514,
            "frames on the link are wire-sized, not {mean}"
        );
    }
}

#[test]
fn streams_survive_a_bad_link_between_two_kernels() {
    in_namespace("streams_survive_a_bad_link_between_two_kernels", || {
        transfer(true);
    });
}

#[test]
fn and_so_they_do_without_offload() {
    in_namespace("and_so_they_do_without_offload", || {
        transfer(false);
    });
}
