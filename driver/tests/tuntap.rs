//! TAP and TUN against the kernel's own stack, each test in a network namespace of its own.
#![expect(clippy::disallowed_types, reason = "the kernel's sockets are the peer")]

mod common;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use common::peer::{HOST, PEER, Peer, pattern};
use common::{in_namespace, ip};
use outlive_driver::pcap::file::{Direction, FileReader};
use outlive_driver::pcap::record;
use outlive_driver::{Interface, OpenError, TxFrame, tuntap};
use pnet::packet::Packet;
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::tcp::{self, TcpFlags, TcpPacket};

fn host() -> Option<(IpAddr, u8)> {
    Some((HOST.into(), 24))
}

fn kernel_mac(name: &str) -> [u8; 6] {
    let interface = pnet::datalink::interfaces()
        .into_iter()
        .find(|i| i.name == name);
    interface.unwrap().mac.unwrap().octets()
}

fn open_tap(offload: bool) -> Peer {
    let options = tuntap::Options {
        offload,
        host_address: host(),
        ..tuntap::Options::tap("tap7")
    };
    let interface = options.open().unwrap();
    let mac = kernel_mac(&interface.name);
    assert_ne!(interface.capabilities.mac, Some(mac));
    Peer::new(interface, Some(mac))
}

/// 60 KB each way over one connection; returns the largest segment that came from the kernel.
fn exchange(peer: &mut Peer) -> usize {
    let bytes = pattern(60_000);
    let listener = TcpListener::bind((HOST, 80)).unwrap();
    let (seq, ack) = peer.connect(5000, 80);
    let (mut stream, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), PEER);
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();

    let cut = if peer.interface.capabilities.tso4 {
        bytes.len()
    } else {
        1400
    };
    for (i, chunk) in bytes.chunks(cut).enumerate() {
        peer.send(
            (5000, 80),
            seq + (i * cut) as u32,
            ack,
            TcpFlags::ACK | TcpFlags::PSH,
            chunk,
            1400,
        );
    }
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).unwrap();
    assert!(read == bytes, "what was sent in one frame is read");

    let seq = seq + bytes.len() as u32;
    send_all(&mut stream, &bytes);
    let (received, largest) = peer.receive((5000, 80), seq, ack, bytes.len());
    assert!(received == bytes, "what the kernel sent is received");
    largest
}

fn send_all(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_nonblocking(true).unwrap();
    assert_eq!(
        stream.write(bytes).unwrap(),
        bytes.len(),
        "the socket buffer takes it"
    );
}

#[test]
fn super_frames_pass_both_ways_over_a_tap() {
    in_namespace("super_frames_pass_both_ways_over_a_tap", || {
        let mut peer = open_tap(true);
        let largest = exchange(&mut peer);
        assert!(
            largest > 10_000,
            "merged segments were asked for, the largest has {largest}"
        );
        assert_eq!(peer.interface.counters.totals().tx_refused, 0);
        assert_eq!(peer.interface.counters.totals().rx_malformed, 0);
    });
}

#[test]
fn a_capture_of_unfinished_frames_shows_right_checksums() {
    in_namespace(
        "a_capture_of_unfinished_frames_shows_right_checksums",
        || {
            let folder = tempfile::tempdir().unwrap();
            let options = record::Options::new(folder.path().join("tap.pcapng"));
            let mut peer = open_tap(true);
            peer.interface = record::record(peer.interface, &options).unwrap();
            exchange(&mut peer);
            drop(peer);
            let mut reader = FileReader::open(&options.path).unwrap();
            let (mut directions, mut largest) = ([0; 2], 0);
            while let Some(recorded) = reader.next_frame().unwrap() {
                let Some(ip) =
                    Ipv4Packet::new(&recorded.data[14..]).filter(|ip| ip.get_version() == 4)
                else {
                    continue;
                };
                let Some(tcp) = TcpPacket::new(ip.payload()) else {
                    continue;
                };
                let expected = tcp::ipv4_checksum(&tcp, &ip.get_source(), &ip.get_destination());
                assert_eq!(tcp.get_checksum(), expected);
                directions[usize::from(recorded.direction == Some(Direction::Out))] += 1;
                largest = largest.max(recorded.data.len());
            }
            assert!(directions[0] > 2 && directions[1] > 2, "{directions:?}");
            assert!(
                largest > 60_000,
                "super-frames are recorded as they are, not of {largest} bytes"
            );
        },
    );
}

#[test]
fn without_offload_every_frame_is_as_on_a_wire() {
    in_namespace("without_offload_every_frame_is_as_on_a_wire", || {
        let mut peer = open_tap(false);
        let largest = exchange(&mut peer);
        assert!(largest <= 1460, "{largest}");
    });
}

#[test]
fn super_frames_pass_both_ways_over_a_tun() {
    in_namespace("super_frames_pass_both_ways_over_a_tun", || {
        let options = tuntap::Options {
            host_address: host(),
            ..tuntap::Options::tun("tun7")
        };
        let interface = options.open().unwrap();
        assert_eq!(interface.capabilities.mac, None);
        assert!(exchange(&mut Peer::new(interface, None)) > 10_000);
    });
}

#[test]
fn options_are_applied_to_the_interface() {
    in_namespace("options_are_applied_to_the_interface", || {
        let options = tuntap::Options {
            mtu: Some(9000),
            queues: 2,
            mac: Some([2, 1, 2, 3, 4, 5]),
            host_address: Some(("fd00::1".parse().unwrap(), 64)),
            queue_len: 5_555,
            ..tuntap::Options::tap("tap%d")
        };
        let interface = options.open().unwrap();
        assert_eq!(interface.name, "tap0");
        assert_eq!(interface.queues.len(), 2);
        assert_eq!(interface.capabilities.mtu, 9000);
        assert_eq!(interface.capabilities.mac, Some([2, 1, 2, 3, 4, 5]));
        let shown = Command::new("ip")
            .args(["address", "show", "tap0"])
            .output()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        for expected in ["mtu 9000", "qlen 5555", "inet6 fd00::1/64", "UP"] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
    });
}

/// Of the first queue of `interface`, as the kernel shows it in this namespace.
fn steered_to(interface: &str) -> String {
    let show =
        format!("mount -t sysfs sysfs /sys && cat /sys/class/net/{interface}/queues/rx-0/rps_cpus");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &show])
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.chars().filter(|c| !"0,\n".contains(*c)).collect()
}

/// Sends 20 MB that nobody wants.
fn send_much(interface: &mut Interface) {
    let frame = || TxFrame::whole(vec![0; 60_000].into());
    for _ in 0..350 {
        let mut batch = VecDeque::from([frame()]);
        interface.queues[0].transmit.transmit(&mut batch).unwrap();
        assert!(batch.is_empty());
    }
}

/// The kernel sends 20 MB to us.
fn receive_much(interface: &mut Interface) {
    ip(&format!("address add 10.9.0.1/24 dev {}", interface.name));
    ip(&format!(
        "neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev {}",
        interface.name
    ));
    let socket = UdpSocket::bind(("10.9.0.1", 0)).unwrap();
    let (mut received, mut frames) = (0, Vec::new());
    for _ in 0..350 {
        socket.send_to(&[0; 60_000], ("10.9.0.2", 9)).unwrap();
        interface.queues[0]
            .receive
            .receive(&mut frames, 1000)
            .unwrap();
        received += frames
            .drain(..)
            .map(|frame| frame.data.len())
            .sum::<usize>();
    }
    assert!(received > 20_000_000, "{received}");
}

#[test]
fn the_kernel_receives_on_other_processors_while_we_send_much() {
    in_namespace(
        "the_kernel_receives_on_other_processors_while_we_send_much",
        || {
            let processors = std::thread::available_parallelism().unwrap().get();
            // The kernel lets nobody steer who is root only of a user namespace.
            let possible = processors > 1 && !common::is_in_user_namespace();
            let mut ours = tuntap::Options::tap("ours").open().unwrap();
            let is_steered = || !steered_to("ours").is_empty();
            assert!(!is_steered(), "there is nothing to send");
            send_much(&mut ours);
            assert_eq!(is_steered(), possible);
            receive_much(&mut ours);
            assert!(
                !is_steered(),
                "what we send would interrupt who sends to us"
            );
            send_much(&mut ours);
            send_much(&mut ours);
            assert_eq!(is_steered(), possible);
        },
    );
}

#[test]
fn steering_is_left_alone_on_the_interfaces_of_others_and_where_frames_are_small() {
    in_namespace(
        "steering_is_left_alone_on_the_interfaces_of_others_and_where_frames_are_small",
        || {
            ip("tuntap add dev theirs mode tap");
            let left_alone = [
                tuntap::Options::tap("theirs"),
                tuntap::Options {
                    steer: false,
                    ..tuntap::Options::tap("unsteered")
                },
            ];
            for options in left_alone {
                let mut open = options.open().unwrap();
                send_much(&mut open);
                assert_eq!(steered_to(&options.name), "", "{}", options.name);
            }
            let small = tuntap::Options {
                offload: false,
                ..tuntap::Options::tap("small")
            };
            let mut open = small.open().unwrap();
            for _ in 0..15_000 {
                let mut batch = VecDeque::from([TxFrame::whole(vec![0; 1514].into())]);
                open.queues[0].transmit.transmit(&mut batch).unwrap();
            }
            assert_eq!(steered_to("small"), "");
        },
    );
}

#[test]
fn a_frame_that_the_device_cannot_take_does_not_block_those_behind_it() {
    in_namespace(
        "a_frame_that_the_device_cannot_take_does_not_block_those_behind_it",
        || {
            use outlive_driver::{Checksum, PartialChecksum};
            let Interface {
                mut queues,
                counters,
                ..
            } = open_tap(true).interface;
            let frame = |bytes: usize, checksum| {
                let payload = smallvec::smallvec![vec![0; bytes].into()];
                TxFrame {
                    payload,
                    checksum,
                    ..TxFrame::default()
                }
            };
            let beyond = Checksum::Partial(PartialChecksum {
                start: 5000,
                offset: 16,
            });
            let mut batch = [
                frame(60, Checksum::Complete),
                frame(100, beyond),
                frame(5, Checksum::Complete),
                frame(60, Checksum::Complete),
            ]
            .into();
            queues[0].transmit.transmit(&mut batch).unwrap();
            assert!(batch.is_empty());
            let totals = counters.totals();
            assert_eq!((totals.tx_frames, totals.tx_refused), (2, 2));

            ip("link set tap7 down");
            let mut batch = [frame(60, Checksum::Complete)].into();
            queues[0].transmit.transmit(&mut batch).unwrap();
            assert_eq!(
                counters.totals().tx_refused,
                3,
                "a down interface drops, and the process lives"
            );
            ip("link delete tap7");
            let mut batch = [frame(60, Checksum::Complete)].into();
            assert!(
                queues[0].transmit.transmit(&mut batch).is_err(),
                "a deleted one is gone"
            );
            assert!(queues[0].receive.receive(&mut Vec::new(), 1).is_err());
        },
    );
}

#[test]
fn a_persistent_interface_is_attached_to_as_it_was_made() {
    in_namespace(
        "a_persistent_interface_is_attached_to_as_it_was_made",
        || {
            ip("tuntap add dev one mode tap");
            ip("tuntap add dev many mode tap multi_queue");
            let two = |name: &str| tuntap::Options {
                queues: 2,
                ..tuntap::Options::tap(name)
            };
            let first = tuntap::Options::tap("one").open().unwrap();
            let again = tuntap::Options::tap("one").open().err().unwrap();
            assert!(matches!(again, OpenError::Busy { .. }), "{again}");
            drop(first);
            tuntap::Options::tap("one").open().unwrap();
            tuntap::Options::tap("many").open().unwrap();
            two("many").open().unwrap();
            let error = two("one").open().err().unwrap();
            assert!(matches!(error, OpenError::WrongKind { .. }), "{error}");
            let error = tuntap::Options::tun("one").open().err().unwrap();
            assert!(matches!(error, OpenError::WrongKind { .. }), "{error}");
        },
    );
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    in_namespace("what_cannot_be_is_said_in_one_line", || {
        let error = |options: tuntap::Options| options.open().err().unwrap().to_string();
        // A name of its own for each: a process that another test starts keeps the last one busy for a moment.
        let mut names = (7..).map(|number| format!("tap{number}"));
        let mut new = || tuntap::Options::tap(names.next().expect("endless"));
        let texts = [
            error(tuntap::Options::tap("much-too-long-a-name")),
            error(tuntap::Options {
                mtu: Some(67),
                ..new()
            }),
            error(tuntap::Options {
                mtu: Some(70_000),
                ..new()
            }),
            error(tuntap::Options { queues: 0, ..new() }),
            error(tuntap::Options {
                mac: Some([1, 0, 0, 0, 0, 0]),
                ..new()
            }),
            error(tuntap::Options {
                host_address: Some((HOST.into(), 33)),
                ..new()
            }),
        ];
        let expected = [
            "15 bytes",
            "MTU 67",
            "MTU 70000",
            "0 queues",
            "unicast",
            "at most 32",
        ];
        for (text, expected) in texts.iter().zip(expected) {
            assert!(text.contains(expected) && !text.contains('\n'), "{text}");
        }
    });
}
