//! The calls, as C makes them: errors, options, readiness.

#[macro_use]
mod support;

use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, c_void, epoll_event, socklen_t};
use outlive::wire::tcp::{Flags, Header};
use support::{Host, PEER_ISS, PEER_PORT, Peer, connected, errno};

fn fails(result: impl Into<i64>, error: i32) {
    assert_eq!(result.into(), -1);
    assert_eq!(errno(), error);
}

#[test]
fn errors_are_those_of_linux() {
    let host = Host::new();
    fails(call!(host, listen, 9999, 1), libc::EBADF);
    fails(
        call!(host, socket, libc::AF_UNIX, libc::SOCK_STREAM, 0),
        libc::EAFNOSUPPORT,
    );
    let fd = host.socket();
    fails(host.accept(fd), libc::EINVAL);
    fails(call!(host, shutdown, fd, libc::SHUT_WR), libc::ENOTCONN);
    fails(host.write(fd, b"x") as i64, libc::EPIPE);
    assert_eq!(host.read(fd, 1), Err(libc::ENOTCONN));
    fails(
        host.set_int(fd, libc::SOL_SOCKET, 9999, 1),
        libc::ENOPROTOOPT,
    );
    fails(
        host.set_int(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, 5),
        libc::EINVAL,
    );
    assert_eq!(host.bind(fd), 0);
    fails(host.bind(fd), libc::EINVAL);
    let second = host.socket();
    fails(host.bind(second), libc::EADDRINUSE);
    host.close(fd);
    fails(call!(host, close, fd), libc::EBADF);
    assert_eq!(host.bind(second), 0);
}

#[test]
fn a_connect_that_does_not_wait_is_under_way_then_done_or_refused() {
    let host = Host::new();
    let fd = host.socket();
    host.set_nonblocking(fd);
    fails(host.connect(fd), libc::EINPROGRESS);
    fails(host.connect(fd), libc::EALREADY);
    let syn = host.next().unwrap().header;
    let mut peer = Peer {
        port: PEER_PORT,
        local_port: syn.source_port,
        seq: 0,
        ack: syn.seq + 1,
    };
    peer.send(&host, Flags::RST.with(Flags::ACK), &[]);
    assert_eq!(
        host.get_int(fd, libc::SOL_SOCKET, libc::SO_ERROR),
        libc::ECONNREFUSED
    );
    assert_eq!(host.get_int(fd, libc::SOL_SOCKET, libc::SO_ERROR), 0);
}

#[test]
fn a_reset_is_told_once_then_the_stream_has_ended() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    peer.send(&host, Flags::RST, &[]);
    assert_eq!(host.read(fd, 10), Err(libc::ECONNRESET));
    assert_eq!(host.read(fd, 10), Ok(vec![]));
    fails(host.write(fd, b"x") as i64, libc::EPIPE);
}

#[test]
fn what_a_flag_asks_of_a_read_it_gets() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    let mut buffer = [0_u8; 10];
    let place = buffer.as_mut_ptr().cast::<c_void>();
    let recv = |flags| call!(host, recv, fd, place, 10, flags);
    fails(recv(libc::MSG_DONTWAIT) as i64, libc::EAGAIN);
    peer.send(&host, Flags::ACK, b"twelve bytes");
    assert_eq!(recv(libc::MSG_PEEK), 10);
    let mut queued: c_int = 0;
    assert_eq!(call!(host, ioctl, fd, libc::FIONREAD, &raw mut queued), 0);
    assert_eq!(queued, 12);
    assert_eq!(recv(libc::MSG_TRUNC), 10);
    assert_eq!(recv(0), 2);
    assert_eq!(&buffer[..2], b"es");
    peer.send(&host, Flags::FIN.with(Flags::ACK), &[]);
    assert_eq!(recv(0), 0);
}

#[test]
fn pieces_are_gathered_into_one_segment_and_scattered_again() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    let piece = |bytes: &mut [u8]| libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let (mut a, mut b) = (*b"hel", *b"lo");
    let pieces = [piece(&mut a), piece(&mut b)];
    assert_eq!(call!(host, writev, fd, pieces.as_ptr(), 2), 5);
    assert_eq!(host.next().unwrap().payload, b"hello");
    peer.ack += 5;
    peer.send(&host, Flags::ACK, b"world");
    let pieces = [piece(&mut a), piece(&mut b)];
    // SAFETY: all zero is a message of nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_ptr().cast_mut();
    message.msg_iovlen = 2;
    assert_eq!(call!(host, recvmsg, fd, &raw mut message, 0), 5);
    assert_eq!((&a, &b), (b"wor", b"ld"));
}

#[test]
fn cork_and_more_hold_partial_segments() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    assert_eq!(host.set_int(fd, libc::IPPROTO_TCP, libc::TCP_CORK, 1), 0);
    assert_eq!(host.write(fd, b"corked "), 7);
    let before = host.now_us();
    host.sleep_ms(20);
    assert_eq!(host.write(fd, b"bottle"), 6);
    assert_eq!(host.set_int(fd, libc::IPPROTO_TCP, libc::TCP_CORK, 0), 0);
    let out = host.next().unwrap();
    assert_eq!(out.payload, b"corked bottle");
    assert!(out.at_us - before >= 20_000);
    peer.ack += 13;
    peer.send(&host, Flags::ACK, &[]);
    let more =
        |bytes: &[u8], flags| call!(host, send, fd, bytes.as_ptr().cast(), bytes.len(), flags);
    assert_eq!(more(b"more ", libc::MSG_MORE), 5);
    assert_eq!(more(b"less", 0), 4);
    let out = host.next().unwrap();
    assert_eq!(out.payload, b"more less");
    assert!(out.header.flags.contains(Flags::PSH));
}

#[test]
fn sizes_of_buffers_are_doubled_and_bounded() {
    let host = Host::new();
    let fd = host.socket();
    assert_eq!(
        host.set_int(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 10_000),
        0
    );
    assert_eq!(host.get_int(fd, libc::SOL_SOCKET, libc::SO_SNDBUF), 20_000);
    assert_eq!(host.set_int(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, 1), 0);
    assert_eq!(host.get_int(fd, libc::SOL_SOCKET, libc::SO_RCVBUF), 2304);
    assert_eq!(
        host.set_int(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, i32::MAX),
        0
    );
    assert!(host.get_int(fd, libc::SOL_SOCKET, libc::SO_SNDBUF) < 100 << 20);
}

#[test]
fn tcp_info_tells_of_the_connection() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    peer.send(&host, Flags::ACK, &[0; 300]);
    assert_eq!(host.write(fd, &[0; 3000]), 3000);
    let mut info = [0_u8; 512];
    let mut length = info.len() as socklen_t;
    let place = info.as_mut_ptr().cast::<c_void>();
    let level = libc::IPPROTO_TCP;
    assert_eq!(
        call!(
            host,
            getsockopt,
            fd,
            level,
            libc::TCP_INFO,
            place,
            &raw mut length
        ),
        0
    );
    let word = |at: usize| u32::from_ne_bytes(*info[at..].first_chunk().unwrap());
    assert_eq!(info[0], 1, "ESTABLISHED");
    assert_eq!(word(16), 1000, "snd_mss");
    assert_eq!(word(24), 3, "unacked");
    assert_eq!(word(80), 10, "snd_cwnd");
    assert_eq!(word(84), 1460, "advmss");
    let received = u64::from_ne_bytes(*info[128..].first_chunk().unwrap());
    assert_eq!(received, 300);
    // As much as there is room for.
    length = 8;
    assert_eq!(
        call!(
            host,
            getsockopt,
            fd,
            level,
            libc::TCP_INFO,
            place,
            &raw mut length
        ),
        0
    );
    assert_eq!(length, 8);
}

fn wait(host: &Host, epoll: c_int) -> Option<u32> {
    let mut event = epoll_event { events: 0, u64: 0 };
    match call!(host, epoll_wait, epoll, &raw mut event, 1, 0) {
        0 => None,
        1 => {
            assert_eq!({ event.u64 }, 77);
            Some(event.events)
        }
        other => panic!("{other}"),
    }
}

fn watch(host: &Host, epoll: c_int, operation: c_int, fd: c_int, events: c_int) -> c_int {
    let mut event = epoll_event {
        events: events as u32,
        u64: 77,
    };
    call!(host, epoll_ctl, epoll, operation, fd, &raw mut event)
}

#[test]
fn an_edge_is_told_once_whether_or_not_it_was_read() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    let epoll = call!(host, epoll_create, 1);
    let both = libc::EPOLLIN | libc::EPOLLOUT;
    assert_eq!(
        watch(&host, epoll, libc::EPOLL_CTL_ADD, fd, both | libc::EPOLLET),
        0
    );
    fails(
        watch(&host, epoll, libc::EPOLL_CTL_ADD, fd, both),
        libc::EEXIST,
    );
    assert_eq!(wait(&host, epoll), Some(libc::EPOLLOUT as u32));
    assert_eq!(wait(&host, epoll), None);
    peer.send(&host, Flags::ACK, b"abc");
    assert_eq!(wait(&host, epoll), Some(both as u32));
    assert_eq!(wait(&host, epoll), None, "no news");
    assert_eq!(host.read(fd, 1).unwrap(), b"a");
    assert_eq!(wait(&host, epoll), None, "reading is no news");
    peer.send(&host, Flags::ACK, b"d");
    assert_eq!(wait(&host, epoll), Some(both as u32));
}

#[test]
fn a_level_is_told_while_it_lasts_and_one_shot_once() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    let epoll = call!(host, epoll_create, 1);
    assert_eq!(
        watch(&host, epoll, libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN),
        0
    );
    assert_eq!(wait(&host, epoll), None);
    peer.send(&host, Flags::ACK, b"abc");
    let read = Some(libc::EPOLLIN as u32);
    assert_eq!((wait(&host, epoll), wait(&host, epoll)), (read, read));
    let one_shot = libc::EPOLLIN | libc::EPOLLONESHOT;
    assert_eq!(watch(&host, epoll, libc::EPOLL_CTL_MOD, fd, one_shot), 0);
    assert_eq!((wait(&host, epoll), wait(&host, epoll)), (read, None));
    assert_eq!(watch(&host, epoll, libc::EPOLL_CTL_MOD, fd, one_shot), 0);
    assert_eq!(wait(&host, epoll), read, "armed again");
    assert_eq!(host.read(fd, 10).unwrap(), b"abc");
    peer.send(&host, Flags::FIN.with(Flags::ACK), &[]);
    assert_eq!(
        watch(
            &host,
            epoll,
            libc::EPOLL_CTL_MOD,
            fd,
            libc::EPOLLIN | libc::EPOLLRDHUP
        ),
        0
    );
    assert_eq!(
        wait(&host, epoll),
        Some((libc::EPOLLIN | libc::EPOLLRDHUP) as u32)
    );
    host.close(fd);
    assert_eq!(
        wait(&host, epoll),
        None,
        "what is closed is watched no more"
    );
}

#[test]
fn bytes_are_spliced_through_a_pipe() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    let mut ends = [0; 2];
    assert_eq!(call!(host, pipe, ends.as_mut_ptr()), 0);
    peer.send(&host, Flags::ACK, b"through a pipe");
    let none = ptr::null_mut();
    assert_eq!(call!(host, splice, fd, none, ends[1], none, 7, 0), 7);
    assert_eq!(host.read(ends[0], 20).unwrap(), b"through");
    assert_eq!(call!(host, splice, fd, none, ends[1], none, 100, 0), 7);
    assert_eq!(call!(host, splice, ends[0], none, fd, none, 100, 0), 7);
    let mut packets = std::iter::from_fn(|| host.next());
    let data = packets.find(|out| !out.payload.is_empty());
    assert_eq!(data.unwrap().payload, b" a pipe");
}

#[test]
fn getsockopt_of_the_c_library_knows_our_descriptors_and_leaves_others_alone() {
    let host = Host::new();
    let (fd, _peer) = connected(&host);
    let ask = |fd| {
        let mut value: c_int = -1;
        let mut length: socklen_t = 4;
        let place = (&raw mut value).cast::<c_void>();
        let (level, name) = (libc::SOL_SOCKET, libc::SO_DOMAIN);
        // SAFETY: there is room for the number.
        let result = unsafe { libc::getsockopt(fd, level, name, place, &raw mut length) };
        (result, value)
    };
    assert_eq!(ask(fd), (0, libc::AF_INET));
    let (kernel, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(ask(kernel.as_raw_fd()), (0, libc::AF_UNIX));
}

#[test]
fn the_first_packet_of_all_may_be_for_a_port_that_nobody_listens_on() {
    let host = Host::new();
    let fd = host.socket();
    assert_eq!(host.bind(fd), 0);
    let syn = Header {
        seq: PEER_ISS,
        flags: Flags::SYN,
        ..Header::default()
    };
    host.inject(PEER_PORT, syn, &[]);
    let refusal = host.next().expect("a RST").header;
    assert_eq!(refusal.flags, Flags::RST.with(Flags::ACK));
    assert_eq!((refusal.seq, refusal.ack), (0, PEER_ISS + 1));
}

#[test]
fn a_record_that_was_ended_is_not_joined_by_what_follows() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    let send = |bytes: &[u8], flags| {
        let sent = call!(host, send, fd, bytes.as_ptr().cast(), bytes.len(), flags);
        assert_eq!(sent, bytes.len() as isize);
    };
    // The initial window is ten segments; what follows waits in the queue.
    send(&[0; 10_000], 0);
    send(&[1; 300], libc::MSG_EOR);
    send(&[2; 300], 0);
    assert_eq!(host.next().unwrap().payload.len(), 5000);
    assert_eq!(host.next().unwrap().payload.len(), 5000);
    peer.ack += 10_000;
    peer.send(&host, Flags::ACK, &[]);
    let record = host.next().unwrap();
    assert_eq!(record.payload, [1; 300]);
    assert!(record.header.flags.contains(Flags::PSH));
}

#[test]
fn room_to_write_grows_when_the_congestion_window_is_not_full_and_epoll_tells_that_edge() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    host.set_nonblocking(fd);
    let epoll = call!(host, epoll_create, 1);
    let mut event = epoll_event {
        events: (libc::EPOLLOUT | libc::EPOLLET) as u32,
        u64: 7,
    };
    let added = call!(
        host,
        epoll_ctl,
        epoll,
        libc::EPOLL_CTL_ADD,
        fd,
        &raw mut event
    );
    assert_eq!(added, 0);
    let mut told = || call!(host, epoll_wait, epoll, &raw mut event, 1, 0);
    assert_eq!((told(), told()), (1, 0));
    let written = host.write(fd, &[0; 200_000]);
    assert!((40_000..60_000).contains(&written), "{written}");
    assert_eq!(told(), 0);
    // All of the first window is acknowledged, and a window of twenty segments leaves: it is full again.
    let mut sent = 0;
    while sent < 10_000 {
        sent += host.next().unwrap().payload.len();
    }
    peer.ack += sent as u32;
    peer.send(&host, Flags::ACK, &[]);
    assert_eq!(told(), 0);
    // The rest is less than the next window holds.
    while sent < 30_000 {
        sent += host.next().unwrap().payload.len();
    }
    peer.ack += 20_000;
    peer.send(&host, Flags::ACK, &[]);
    assert_eq!((told(), told()), (1, 0));
    assert!(host.write(fd, &[0; 200_000]) > 60_000);
}

#[test]
fn in_time_wait_everything_but_a_bare_ack_is_answered() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    assert_eq!(call!(host, shutdown, fd, libc::SHUT_WR), 0);
    let fin = host.next().unwrap();
    assert!(fin.header.flags.contains(Flags::FIN));
    peer.ack += 1;
    peer.send(&host, Flags::FIN.with(Flags::ACK), &[]);
    let last = host.next().unwrap().header.ack;
    assert_eq!(last, peer.seq);
    // As it has to be, and nothing that needs an answer.
    peer.send(&host, Flags::ACK, &[]);
    // Beyond, with a FIN and without: nothing that was expected.
    for (ahead, flags) in [(0, Flags::FIN.with(Flags::ACK)), (1, Flags::ACK)] {
        host.sleep_ms(1000);
        let asked_us = host.now_us();
        peer.seq = last + ahead;
        peer.send(&host, flags, &[]);
        let answer = host.next().expect("an ACK");
        assert_eq!((answer.header.flags, answer.header.ack), (Flags::ACK, last));
        assert!(answer.at_us >= asked_us, "of this segment");
    }
}

#[test]
fn a_reset_after_both_have_closed_is_told() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    peer.send(&host, Flags::FIN.with(Flags::ACK), &[]);
    assert_eq!(call!(host, shutdown, fd, libc::SHUT_WR), 0);
    peer.send(&host, Flags::RST, &[]);
    let error = host.get_int(fd, libc::SOL_SOCKET, libc::SO_ERROR);
    assert_eq!(error, libc::ECONNRESET);
}

#[test]
fn a_reset_after_the_peer_has_closed_is_a_broken_pipe() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    peer.send(&host, Flags::FIN.with(Flags::ACK), &[]);
    peer.send(&host, Flags::RST, &[]);
    let error = host.get_int(fd, libc::SOL_SOCKET, libc::SO_ERROR);
    assert_eq!(error, libc::EPIPE);
}
