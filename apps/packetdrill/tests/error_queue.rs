//! Notices of the error queue: zero-copy writes and times of sending.

#[macro_use]
mod support;

use libc::c_int;
use outlive::wire::tcp::Flags;
use support::{Host, connected, errno};

const FLAGS: c_int = 1 << 1 | 1 << 4 | 1 << 7 | 1 << 9;

/// Level, kind and value of ancillary data.
type Piece = (c_int, c_int, Vec<u8>);

/// `recvmsg` with `MSG_ERRQUEUE`: flags and ancillary data.
fn notice(host: &Host, fd: c_int) -> Result<(c_int, Vec<Piece>), c_int> {
    let mut control = [0_u64; 32];
    // SAFETY: zeroes are a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    if call!(host, recvmsg, fd, &raw mut message, libc::MSG_ERRQUEUE) < 0 {
        return Err(errno());
    }
    let bytes: Vec<u8> = control.iter().flat_map(|it| it.to_ne_bytes()).collect();
    let mut rest = &bytes[..message.msg_controllen as usize];
    let mut told = Vec::new();
    while let Some((length, more)) = rest.split_first_chunk::<8>() {
        let length = usize::from_ne_bytes(*length);
        let number = |at: usize| c_int::from_ne_bytes(more[at..at + 4].try_into().unwrap());
        told.push((number(0), number(4), more[8..length - 8].to_vec()));
        rest = &rest[length.next_multiple_of(8)..];
    }
    Ok((message.msg_flags, told))
}

/// errno, origin, code, info and data of a `struct sock_extended_err`.
fn extended(value: &[u8]) -> (u32, u8, u8, u32, u32) {
    let word = |at: usize| u32::from_ne_bytes(value[at..at + 4].try_into().unwrap());
    (word(0), value[4], value[6], word(8), word(12))
}

#[test]
fn a_zero_copy_write_is_told_to_have_been_copied() {
    let host = Host::new();
    let (fd, _peer) = connected(&host);
    let send = || {
        call!(
            host,
            send,
            fd,
            [1_u8; 100].as_ptr().cast(),
            100,
            libc::MSG_ZEROCOPY
        )
    };
    assert_eq!(send(), 100);
    assert_eq!(notice(&host, fd), Err(libc::EAGAIN), "not asked for");
    assert_eq!(host.set_int(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1), 0);
    assert_eq!((send(), send()), (100, 100));
    let (flags, told) = notice(&host, fd).unwrap();
    assert_eq!(flags, libc::MSG_ERRQUEUE);
    let [(level, kind, value)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((*level, *kind), (libc::SOL_IP, libc::IP_RECVERR));
    assert_eq!(extended(value), (0, 5, 1, 0, 1), "both, and copied");
    assert_eq!(notice(&host, fd), Err(libc::EAGAIN));
}

#[test]
fn when_the_last_byte_of_a_write_left_and_was_acknowledged_is_told() {
    let host = Host::new();
    let (fd, mut peer) = connected(&host);
    assert_eq!(
        host.set_int(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, FLAGS),
        0
    );
    let sent_at = host.now_us();
    assert_eq!(host.write(fd, &[1; 900]), 900);
    host.next().unwrap();
    host.sleep_ms(30);
    peer.ack += 900;
    peer.send(&host, Flags::ACK, &[]);
    for (what, after_us) in [(0, 0), (2, 30_000)] {
        let (_, told) = notice(&host, fd).unwrap();
        assert_eq!((told[0].0, told[0].1), (libc::SOL_SOCKET, 37));
        let number = |at: usize| i64::from_ne_bytes(told[0].2[at..at + 8].try_into().unwrap());
        let at_us = number(0) * 1_000_000 + number(8) / 1000;
        assert!(
            (at_us - sent_at - after_us).abs() < 100,
            "{what}: {at_us} {sent_at}"
        );
        assert_eq!(extended(&told[1].2), (libc::ENOMSG as u32, 4, 0, what, 899));
    }
    assert_eq!(notice(&host, fd), Err(libc::EAGAIN));
}
