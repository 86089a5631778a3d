//! AF_PACKET over veth against the kernel's own stack, which sits at the other end.
#![expect(clippy::disallowed_types, reason = "the kernel's sockets are the peer")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use common::peer::{HOST, PEER, Peer, pattern};
use common::{in_namespace, ip};
use outlive_driver::packet_socket::{self, Method};
use outlive_driver::{OpenError, RxChecksum, TxFrame};
use pnet::packet::tcp::TcpFlags;

/// A veth pair: the kernel's end has an address, the other end is ours and has none.
fn veth() {
    ip("link add ours type veth peer name host");
    ip("address add 10.9.0.1/24 dev host");
    ip("link set host up");
    ip("link set ours up");
    // The kernel drops what is sent before it has noticed the carrier.
    let running = |name| {
        pnet::datalink::interfaces()
            .iter()
            .any(|i| i.name == name && i.is_running())
    };
    while !(running("ours") && running("host")) {
        std::thread::yield_now();
    }
}

fn open(options: &packet_socket::Options) -> Peer {
    let interface = options.open().unwrap();
    let all = pnet::datalink::interfaces();
    let mac = |name: &str| {
        all.iter()
            .find(|i| i.name == name)
            .unwrap()
            .mac
            .unwrap()
            .octets()
    };
    assert_ne!(interface.capabilities.mac, Some(mac("ours")));
    Peer::new(interface, Some(mac("host")))
}

fn exchange(peer: &mut Peer, port: u16) -> usize {
    let bytes = pattern(60_000);
    let listener = TcpListener::bind((HOST, port)).unwrap();
    let (seq, ack) = peer.connect(port, port);
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
            (port, port),
            seq + (i * cut) as u32,
            ack,
            TcpFlags::ACK,
            chunk,
            1400,
        );
    }
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).unwrap();
    assert!(read == bytes);
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.write(&bytes).unwrap(), bytes.len());
    let seq = seq + bytes.len() as u32;
    let (received, largest) = peer.receive((port, port), seq, ack, bytes.len());
    assert!(received == bytes);
    largest
}

#[test]
fn super_frames_pass_both_ways_over_veth() {
    in_namespace("super_frames_pass_both_ways_over_veth", || {
        veth();
        let mut peer = open(&packet_socket::Options::new("ours"));
        let largest = exchange(&mut peer, 5000);
        assert!(largest > 10_000, "veth merges, the largest has {largest}");
        let totals = peer.interface.counters.totals();
        assert_eq!((totals.tx_refused, totals.rx_malformed), (0, 0));
    });
}

#[test]
fn the_ring_hands_over_the_same_frames() {
    in_namespace("the_ring_hands_over_the_same_frames", || {
        veth();
        let options = packet_socket::Options {
            method: Method::Ring,
            ..packet_socket::Options::new("ours")
        };
        let mut peer = open(&options);
        for port in 5000..5100 {
            let largest = exchange(&mut peer, port);
            assert!(largest > 10_000, "veth merges, the largest has {largest}");
        }
        assert_eq!(peer.interface.counters.totals().rx_malformed, 0);
    });
}

#[test]
fn without_offload_we_send_finished_frames_and_cope_with_unfinished_ones() {
    in_namespace(
        "without_offload_we_send_finished_frames_and_cope_with_unfinished_ones",
        || {
            veth();
            let mut peer = open(&packet_socket::Options {
                offload: false,
                ..packet_socket::Options::new("ours")
            });
            exchange(&mut peer, 5000);
        },
    );
}

#[test]
fn own_frames_and_those_for_others_are_not_received() {
    in_namespace("own_frames_and_those_for_others_are_not_received", || {
        veth();
        let mut peer = open(&packet_socket::Options::new("ours"));
        let mut all = open(&packet_socket::Options {
            every_frame: true,
            ..packet_socket::Options::new("ours")
        });
        let socket = UdpSocket::bind((HOST, 9)).unwrap();
        ip("neighbour add 10.9.0.3 lladdr 02:00:00:00:00:03 dev host");
        socket.send_to(b"for another", ("10.9.0.3", 9)).unwrap();
        let mac = peer
            .interface
            .capabilities
            .mac
            .unwrap()
            .map(|b| format!("{b:02x}"))
            .join(":");
        ip(&format!("neighbour replace 10.9.0.2 lladdr {mac} dev host"));
        socket.send_to(b"for us", (PEER, 9)).unwrap();

        let payload = |peer: &mut Peer| loop {
            let frame = peer.frame();
            if frame.data[12..14] == [8, 0] && frame.data[23] == 17 {
                assert!(
                    matches!(frame.checksum, RxChecksum::Partial(_)),
                    "veth leaves checksums open"
                );
                return frame.data[42..].to_vec();
            }
        };
        assert_eq!(payload(&mut peer), b"for us");
        assert_eq!(payload(&mut all), b"for another");
        assert_eq!(payload(&mut all), b"for us");
        peer.send((5000, 80), 0, 0, TcpFlags::SYN, &[], 1400);
        let mut into = Vec::new();
        while all.interface.queues[0]
            .receive
            .receive(&mut into, 16)
            .unwrap()
            > 0
        {}
        assert!(
            into.iter()
                .all(|frame| frame.data[6..12] != peer.interface.capabilities.mac.unwrap())
        );
    });
}

#[test]
fn a_vlan_tag_comes_beside_the_frame() {
    in_namespace("a_vlan_tag_comes_beside_the_frame", || {
        veth();
        for method in [Method::Calls, Method::Ring] {
            vlan_tag(method);
        }
    });
}

fn vlan_tag(method: Method) {
    let mut peer = open(&packet_socket::Options {
        method,
        ..packet_socket::Options::new("ours")
    });
    // The receiving kernel takes the tag out of the bytes, whether or not it has VLAN devices.
    let mut sender = open(&packet_socket::Options::new("host"));
    let mut frame = TxFrame::default();
    let header = [
        &[0xff; 6][..],
        &[2, 0, 0, 0, 0, 9],
        &[0x81, 0, 0x60, 5, 8, 0],
    ]
    .concat();
    frame.head.prepend(18).copy_from_slice(&header);
    frame
        .payload
        .push([&[0; 40][..], b"tagged"].concat().into());
    sender.transmit(frame);
    loop {
        let frame = peer.frame();
        if frame.data.ends_with(b"tagged") {
            assert_eq!(frame.vlan_tci, Some(3 << 13 | 5));
            assert_eq!(frame.data[12..14], [8, 0]);
            return;
        }
    }
}

#[test]
fn several_queues_share_the_flows() {
    in_namespace("several_queues_share_the_flows", || {
        veth();
        let mut peer = open(&packet_socket::Options {
            queues: 2,
            ..packet_socket::Options::new("ours")
        });
        let mac = peer
            .interface
            .capabilities
            .mac
            .unwrap()
            .map(|b| format!("{b:02x}"))
            .join(":");
        ip(&format!("neighbour add 10.9.0.2 lladdr {mac} dev host"));
        let sockets: Vec<_> = (0..32)
            .map(|_| UdpSocket::bind((HOST, 0)).unwrap())
            .collect();
        for _ in 0..4 {
            for socket in &sockets {
                socket.send_to(b"flow", (PEER, 9)).unwrap();
            }
        }
        let mut seen = [const { Vec::new() }; 2];
        // The kernel may carry them over the cable later, when it is busy.
        while seen[0].len() + seen[1].len() < 128 {
            let fds = peer.interface.queues.iter();
            common::peer::wait_for_any(fds.map(|queue| queue.receive.wait_fd().unwrap()));
            for (queue, ports) in peer.interface.queues.iter_mut().zip(&mut seen) {
                let mut into = Vec::new();
                queue.receive.receive(&mut into, 1000).unwrap();
                let udp = into.iter().filter(|f| f.data.ends_with(b"flow"));
                ports.extend(udp.map(|f| u16::from_be_bytes([f.data[34], f.data[35]])));
            }
        }
        assert_eq!(seen[0].len() + seen[1].len(), 128);
        assert!(seen.iter().all(|ports| !ports.is_empty()));
        assert!(
            seen[0].iter().all(|port| !seen[1].contains(port)),
            "a flow stays on its queue"
        );
    });
}

#[test]
fn an_interface_that_goes_down_or_away_is_noticed() {
    in_namespace("an_interface_that_goes_down_or_away_is_noticed", || {
        for method in [Method::Calls, Method::Ring] {
            veth();
            down_and_away(method);
        }
    });
}

fn down_and_away(method: Method) {
    let mut peer = open(&packet_socket::Options {
        method,
        ..packet_socket::Options::new("ours")
    });
    let queue = &mut peer.interface.queues[0];
    let mut into = Vec::new();
    ip("link set ours down");
    queue.receive.receive(&mut into, 1000).unwrap();
    queue
        .transmit
        .transmit(&mut [TxFrame::default()].into())
        .unwrap();
    ip("link set ours up");
    queue.receive.receive(&mut into, 1000).unwrap();
    ip("link delete ours");
    assert!((0..100).any(|_| queue.receive.receive(&mut into, 1000).is_err()));
}

#[test]
fn what_cannot_be_opened_is_said_in_one_line() {
    in_namespace("what_cannot_be_opened_is_said_in_one_line", || {
        veth();
        let error = |name: &str| packet_socket::Options::new(name).open().err().unwrap();
        let text = error("nosuch").to_string();
        assert!(
            text.contains("nosuch") && text.contains("host") && text.contains("ours"),
            "{text}"
        );
        ip("link set ours down");
        assert!(matches!(error("ours"), OpenError::Down { .. }));
        ip("link set lo up");
        assert!(matches!(error("lo"), OpenError::WrongKind { .. }));
    });
}
