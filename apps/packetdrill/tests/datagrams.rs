//! Datagram sockets, as C uses them.

#[macro_use]
mod support;

use std::ptr;

use libc::{c_int, c_void, sockaddr, sockaddr_in, socklen_t};
use outlive::wire::ipv4;
use outlive::wire::udp;
use support::{Host, LOCAL, PEER_PORT, PORT, REMOTE, errno, ip_packet, name};

const UDP: u8 = 17;
const ICMP: u8 = 1;

fn socket(host: &Host) -> c_int {
    let fd = call!(host, socket, libc::AF_INET, libc::SOCK_DGRAM, 0);
    assert!(fd >= 0);
    fd
}

fn bound(host: &Host) -> c_int {
    let fd = socket(host);
    assert_eq!(host.bind(fd), 0);
    fd
}

/// The peer sends a datagram to the port that we bind. Without a checksum (RFC 768).
fn arrives(host: &Host, from_port: u16, data: &[u8]) {
    let mut packet = ip_packet(UDP, 8 + data.len());
    udp::Header {
        source_port: from_port,
        destination_port: PORT,
        len: 8 + data.len() as u16,
        checksum: 0,
    }
    .emit(&mut packet[20..28]);
    packet[28..].copy_from_slice(data);
    host.inject_packet(&packet);
}

/// The next datagram that leaves: the ports, and the data.
fn left(host: &Host) -> Option<(u16, u16, Vec<u8>)> {
    let (_, packet) = host.next_packet()?;
    let ip = ipv4::parse(&packet).unwrap();
    assert_eq!(
        (ip.source, ip.destination, ip.protocol),
        (LOCAL, REMOTE, UDP)
    );
    let header = udp::parse(&packet[20..]).unwrap();
    Some((
        header.source_port,
        header.destination_port,
        packet[28..].to_vec(),
    ))
}

fn send_to(host: &Host, fd: c_int, data: &[u8]) -> isize {
    let to = name(REMOTE, PEER_PORT);
    let to = (&raw const to).cast::<sockaddr>();
    call!(
        host,
        sendto,
        fd,
        data.as_ptr().cast(),
        data.len(),
        0,
        to,
        16
    )
}

fn receive_from(host: &Host, fd: c_int, room: usize, flags: c_int) -> (isize, Vec<u8>, u16) {
    let mut buffer = vec![0_u8; room];
    let mut from = name(LOCAL, 0);
    let mut length = size_of::<sockaddr_in>() as socklen_t;
    let place = (&raw mut from).cast::<sockaddr>();
    let start = buffer.as_mut_ptr().cast();
    let result = call!(
        host,
        recvfrom,
        fd,
        start,
        room,
        flags,
        place,
        &raw mut length
    );
    if result >= 0 {
        assert_eq!(from.sin_addr.s_addr, u32::from(REMOTE).to_be());
        buffer.truncate(result as usize);
    }
    (result, buffer, u16::from_be(from.sin_port))
}

#[test]
fn each_datagram_comes_whole_with_the_name_of_its_sender() {
    let host = Host::new();
    let fd = bound(&host);
    arrives(&host, 5000, b"one");
    arrives(&host, 5001, b"");
    arrives(&host, 5002, b"three");
    let mut next: c_int = 0;
    assert_eq!(call!(host, ioctl, fd, libc::FIONREAD, &raw mut next), 0);
    assert_eq!(next, 3);
    assert_eq!(receive_from(&host, fd, 99, libc::MSG_PEEK).1, b"one");
    assert_eq!(receive_from(&host, fd, 99, 0), (3, b"one".to_vec(), 5000));
    assert_eq!(receive_from(&host, fd, 99, 0), (0, vec![], 5001));
    // What has no room is lost, and with MSG_TRUNC it is told how much there was.
    let (length, buffer, _) = receive_from(&host, fd, 2, libc::MSG_TRUNC);
    assert_eq!((length, &buffer[..]), (5, &b"th"[..]));
    let (result, ..) = receive_from(&host, fd, 2, libc::MSG_DONTWAIT);
    assert_eq!((result, errno()), (-1, libc::EAGAIN));
}

#[test]
fn without_a_port_the_first_call_takes_one_and_keeps_it() {
    let host = Host::new();
    let fd = socket(&host);
    assert_eq!(host.write(fd, b"nobody"), -1);
    assert_eq!(errno(), libc::EDESTADDRREQ);
    assert_eq!(send_to(&host, fd, b"hello"), 5);
    let (port, to, data) = left(&host).unwrap();
    assert!(port > 0);
    assert_eq!((to, data), (PEER_PORT, b"hello".to_vec()));
    assert_eq!(host.bind(fd), -1);
    assert_eq!(errno(), libc::EINVAL);
    assert_eq!(host.connect(fd), 0);
    assert_eq!(host.write(fd, b"again"), 5);
    assert_eq!(left(&host), Some((port, PEER_PORT, b"again".to_vec())));
}

#[test]
fn who_is_connected_hears_only_its_peer_until_it_is_not() {
    let host = Host::new();
    let fd = bound(&host);
    assert_eq!(host.connect(fd), 0);
    arrives(&host, PEER_PORT + 1, b"stranger");
    arrives(&host, PEER_PORT, b"peer");
    assert_eq!(host.read(fd, 99), Ok(b"peer".to_vec()));
    let nobody = sockaddr {
        sa_family: libc::AF_UNSPEC as u16,
        sa_data: [0; 14],
    };
    assert_eq!(call!(host, connect, fd, &raw const nobody, 16), 0);
    arrives(&host, PEER_PORT + 1, b"stranger");
    assert_eq!(receive_from(&host, fd, 99, 0).2, PEER_PORT + 1);
}

#[test]
fn what_icmp_says_of_a_datagram_is_the_error_of_the_next_call() {
    let host = Host::new();
    let fd = bound(&host);
    assert_eq!(host.connect(fd), 0);
    // Codes: port and protocol unreachable; a host that cannot be reached may come back, and only who asks is told of it.
    let expected = [
        (3, false, libc::ECONNREFUSED),
        (2, false, libc::ENOPROTOOPT),
        (1, false, 0),
        (1, true, libc::EHOSTUNREACH),
    ];
    for (code, asks, error) in expected {
        let asked = host.set_int(fd, libc::IPPROTO_IP, libc::IP_RECVERR, asks.into());
        assert_eq!(asked, 0);
        assert_eq!(host.write(fd, b"ping"), 4);
        let (_, sent) = host.next_packet().unwrap();
        let mut packet = ip_packet(ICMP, 8 + 28);
        packet[20..22].copy_from_slice(&[3, code]);
        packet[28..].copy_from_slice(&sent[..28]);
        let sum = outlive::checksum::checksum(&packet[20..]);
        packet[22..24].copy_from_slice(&sum.to_be_bytes());
        host.inject_packet(&packet);
        let mut asked = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let ready = i32::from(error != 0);
        assert_eq!(call!(host, poll, &raw mut asked, 1, 0), ready);
        assert_eq!(asked.revents, libc::POLLERR * ready as i16);
        assert_eq!(host.get_int(fd, libc::SOL_SOCKET, libc::SO_ERROR), error);
        assert_eq!(host.get_int(fd, libc::SOL_SOCKET, libc::SO_ERROR), 0);
    }
}

#[test]
fn it_is_told_when_a_datagram_arrived() {
    let host = Host::new();
    let fd = bound(&host);
    assert_eq!(
        host.set_int(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1),
        0
    );
    host.sleep_ms(70);
    let before = host.now_us();
    arrives(&host, PEER_PORT, b"now");
    let after = host.now_us();
    host.sleep_ms(500);
    let mut data = [0_u8; 8];
    let mut piece = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: 2,
    };
    let mut control = [0_u64; 8];
    // SAFETY: all zero is a message of nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast::<c_void>();
    message.msg_controllen = size_of_val(&control) as _;
    assert_eq!(call!(host, recvmsg, fd, &raw mut message, 0), 2);
    assert_eq!(message.msg_flags, libc::MSG_TRUNC);
    assert_eq!(message.msg_controllen as usize, 32);
    let kind = (libc::SOL_SOCKET as u64) | (libc::SO_TIMESTAMPNS as u64) << 32;
    assert_eq!((control[0], control[1]), (32, kind));
    let at_us = (control[2] * 1_000_000 + control[3] / 1000) as i64;
    assert!(
        (before..=after).contains(&at_us),
        "{before} {at_us} {after}"
    );
}

#[test]
fn an_edge_is_told_with_every_datagram_and_streams_are_refused() {
    let host = Host::new();
    let fd = bound(&host);
    let epoll = call!(host, epoll_create, 1);
    let edge = (libc::EPOLLIN | libc::EPOLLET) as u32;
    let mut event = libc::epoll_event {
        events: edge,
        u64: 7,
    };
    assert_eq!(
        call!(
            host,
            epoll_ctl,
            epoll,
            libc::EPOLL_CTL_ADD,
            fd,
            &raw mut event
        ),
        0
    );
    let mut wait = || call!(host, epoll_wait, epoll, &raw mut event, 1, 0);
    assert_eq!(wait(), 0);
    arrives(&host, PEER_PORT, b"a");
    assert_eq!((wait(), wait()), (1, 0));
    arrives(&host, PEER_PORT, b"b");
    assert_eq!((wait(), wait()), (1, 0));
    assert_eq!(call!(host, listen, fd, 1), -1);
    assert_eq!(errno(), libc::EOPNOTSUPP);
    assert_eq!(
        call!(host, accept, fd, ptr::null_mut(), ptr::null_mut()),
        -1
    );
    assert_eq!(errno(), libc::EOPNOTSUPP);
    // A port is one socket's until it is closed.
    let second = socket(&host);
    assert_eq!(host.bind(second), -1);
    assert_eq!(errno(), libc::EADDRINUSE);
    host.close(fd);
    assert_eq!(host.bind(second), 0);
}

#[test]
fn who_is_shut_reads_an_end_and_writes_to_nobody() {
    let host = Host::new();
    let fd = bound(&host);
    assert_eq!(call!(host, shutdown, fd, libc::SHUT_RDWR), -1);
    assert_eq!(errno(), libc::ENOTCONN);
    assert_eq!(host.connect(fd), 0);
    arrives(&host, PEER_PORT, b"before");
    assert_eq!(call!(host, shutdown, fd, libc::SHUT_RDWR), 0);
    assert_eq!(host.read(fd, 99), Ok(b"before".to_vec()));
    assert_eq!(host.read(fd, 99), Ok(vec![]));
    assert_eq!(host.write(fd, b"after"), -1);
    assert_eq!(errno(), libc::EPIPE);
}
