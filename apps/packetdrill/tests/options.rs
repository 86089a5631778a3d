//! Options that change what a listener or a connection does.

#[macro_use]
mod support;

use libc::{c_int, sockaddr, sockaddr_in6};
use outlive::wire::tcp::{Flags, Header};
use support::{Host, PEER_ISS, PEER_PORT, PORT, Peer, connected, errno};

/// Binds to `[::]`.
fn bind_v6(host: &Host, fd: c_int) -> c_int {
    let name = sockaddr_in6 {
        sin6_family: libc::AF_INET6 as u16,
        sin6_port: PORT.to_be(),
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
        sin6_scope_id: 0,
    };
    call!(host, bind, fd, (&raw const name).cast::<sockaddr>(), 28)
}

#[test]
fn a_listener_for_ipv6_only_leaves_ipv4_to_others() {
    for only in [false, true] {
        let host = Host::new();
        let fd = call!(host, socket, libc::AF_INET6, libc::SOCK_STREAM, 0);
        let set = |on| host.set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, on);
        assert_eq!(set(only.into()), 0);
        assert_eq!(
            host.get_int(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
            only.into()
        );
        assert_eq!(bind_v6(&host, fd), 0);
        assert_eq!((set(0), errno()), (-1, libc::EINVAL), "too late");
        assert_eq!(call!(host, listen, fd, 4), 0);
        let syn = Header {
            seq: PEER_ISS,
            flags: Flags::SYN,
            ..Header::default()
        };
        host.inject(PEER_PORT, syn, &[]);
        let answer = host.next().expect("an answer").header.flags;
        let other = host.socket();
        if only {
            assert_eq!(answer, Flags::RST.with(Flags::ACK));
            assert_eq!(host.bind(other), 0);
            assert_eq!(call!(host, listen, other, 4), 0);
            Peer::open(&host, PEER_PORT + 1);
            assert!(host.accept(other) >= 0);
        } else {
            assert_eq!(answer, Flags::SYN.with(Flags::ACK));
            assert_eq!((host.bind(other), errno()), (-1, libc::EADDRINUSE));
        }
    }
}

#[test]
fn a_listener_that_waits_for_data_accepts_with_the_first() {
    let host = Host::new();
    let listener = host.listening();
    host.set_nonblocking(listener);
    let option = libc::TCP_DEFER_ACCEPT;
    assert_eq!(host.set_int(listener, libc::IPPROTO_TCP, option, 5), 0);
    // What three SYN-ACKs take that come again: one, two and four seconds.
    assert_eq!(host.get_int(listener, libc::IPPROTO_TCP, option), 7);
    let mut peer = Peer::open(&host, PEER_PORT);
    assert_eq!((host.accept(listener), errno()), (-1, libc::EAGAIN));
    peer.send(&host, Flags::ACK, b"request");
    let fd = host.accept(listener);
    assert_eq!(host.read(fd, 100), Ok(b"request".to_vec()));
}

#[test]
fn fin_wait_2_of_a_closed_socket_lasts_as_long_as_it_says() {
    for (seconds, told) in [(-5, -1), (0, 60), (5, 5), (500, 120)] {
        let host = Host::new();
        let (fd, mut peer) = connected(&host);
        let option = libc::TCP_LINGER2;
        assert_eq!(host.set_int(fd, libc::IPPROTO_TCP, option, seconds), 0);
        assert_eq!(host.get_int(fd, libc::IPPROTO_TCP, option), told);
        host.close(fd);
        assert!(host.next().unwrap().header.flags.contains(Flags::FIN));
        peer.ack += 1;
        peer.send(&host, Flags::ACK, &[]);
        if told < 0 {
            assert!(host.next().unwrap().header.flags.contains(Flags::RST));
            continue;
        }
        // While it lasts the peer's FIN is acknowledged, afterwards it belongs to no connection.
        for (after_ms, flags) in [(told - 1, Flags::ACK), (told + 1, Flags::RST)] {
            let host = Host::new();
            let (fd, mut peer) = connected(&host);
            assert_eq!(host.set_int(fd, libc::IPPROTO_TCP, option, seconds), 0);
            host.close(fd);
            host.next().unwrap();
            peer.ack += 1;
            peer.send(&host, Flags::ACK, &[]);
            host.sleep_ms(after_ms as u32 * 1000);
            peer.send(&host, Flags::FIN.with(Flags::ACK), &[]);
            assert_eq!(host.next().unwrap().header.flags, flags);
        }
    }
}

#[test]
fn the_window_stays_below_its_clamp() {
    let host = Host::new();
    let listener = host.listening();
    let option = libc::TCP_WINDOW_CLAMP;
    assert_eq!(host.set_int(listener, libc::IPPROTO_TCP, option, 10_000), 0);
    assert_eq!(host.get_int(listener, libc::IPPROTO_TCP, option), 10_000);
    assert_eq!(
        (
            host.set_int(listener, libc::IPPROTO_TCP, option, 0),
            errno()
        ),
        (-1, libc::EINVAL)
    );
    let mut peer = Peer::open(&host, PEER_PORT);
    let fd = host.accept(listener);
    peer.send(&host, Flags::ACK, &[1; 500]);
    assert!(host.next().unwrap().header.window <= 10_000);
    assert_eq!(host.read(fd, 1000).unwrap().len(), 500);
    assert_eq!(host.set_int(fd, libc::IPPROTO_TCP, option, 1), 0);
    assert_eq!(host.get_int(fd, libc::IPPROTO_TCP, option), 1152);
}
