//! TCP Fast Open (RFC 7413) through the calls.

#[macro_use]
mod support;

use libc::{c_int, c_void};
use outlive::wire::tcp::{FastOpen, Flags, Header, Options};
use outlive_posix::{TCP_INFO_BYTES, TcpInfo};
use support::{Host, Out, PEER_ISS, PEER_PORT};

/// `TCPI_OPT_SYN_DATA`.
const SYN_DATA: u8 = 32;
/// Linux's cookie for the addresses of these tests with the key below.
const COOKIE: [u8; 8] = 0x3021_b9d8_8901_7eeb_u64.to_be_bytes();
const KEY: &str = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4";

/// A host in a namespace with that `tcp_fastopen`, which is there as long as the folder.
fn host(bits: u32) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let ipv4 = folder.path().join("ipv4");
    std::fs::create_dir(&ipv4).unwrap();
    std::fs::write(ipv4.join("tcp_fastopen"), bits.to_string()).unwrap();
    std::fs::write(ipv4.join("tcp_fastopen_key"), KEY).unwrap();
    let host = Host::with(&format!("seed=7,sysctls={}", folder.path().display()));
    (folder, host)
}

/// A SYN with a cookie and data, and its answer.
fn syn(host: &Host, cookie: Option<&[u8]>, experiment: bool) -> Out {
    let syn = Header {
        seq: PEER_ISS,
        flags: Flags::SYN,
        options: Options {
            mss: Some(1460),
            fast_open: cookie.map(|it| it.iter().copied().collect::<FastOpen>()),
            fast_open_experiment: experiment,
            ..Options::default()
        },
        ..Header::default()
    };
    host.inject(PEER_PORT, syn, b"question");
    host.next().expect("a SYN-ACK")
}

fn had_syn_data(host: &Host, fd: c_int) -> bool {
    let mut bytes = [0_u8; TCP_INFO_BYTES];
    let mut length = bytes.len() as libc::socklen_t;
    let place = bytes.as_mut_ptr().cast::<c_void>();
    let name = libc::TCP_INFO;
    let got = call!(
        host,
        getsockopt,
        fd,
        libc::IPPROTO_TCP,
        name,
        place,
        &raw mut length
    );
    assert_eq!(got, 0);
    bytes[std::mem::offset_of!(TcpInfo, options)] & SYN_DATA != 0
}

#[test]
fn what_comes_with_a_syn_and_a_good_cookie_is_read_and_answered_at_once() {
    for experiment in [false, true] {
        let (_folder, host) = host(0x402);
        let listener = host.listening();
        let answer = syn(&host, Some(&COOKIE), experiment);
        assert_eq!(answer.header.ack, PEER_ISS + 1 + 8);
        let fd = host.accept(listener);
        assert_eq!(host.read(fd, 100), Ok(b"question".to_vec()));
        assert!(had_syn_data(&host, fd));
        assert_eq!(host.write(fd, b"answer"), 6);
        assert_eq!(host.next().unwrap().payload, b"answer");
    }
}

#[test]
fn a_bad_cookie_is_answered_with_a_good_one_in_the_same_form() {
    for experiment in [false, true] {
        let (_folder, host) = host(0x402);
        host.listening();
        for cookie in [&[][..], &[1; 8]] {
            let answer = syn(&host, Some(cookie), experiment).header;
            assert_eq!(answer.ack, PEER_ISS + 1, "the data is not taken");
            assert_eq!(answer.options.fast_open.as_deref(), Some(&COOKIE[..]));
            assert_eq!(answer.options.fast_open_experiment, experiment);
        }
    }
}

#[test]
fn a_listener_has_to_ask_for_it_unless_all_may() {
    let option = libc::TCP_FASTOPEN;
    for (bits, queue, taken) in [(0x402, 0, true), (2, 0, false), (2, 5, true), (1, 5, false)] {
        let (_folder, host) = host(bits);
        let listener = host.listening();
        if queue > 0 {
            assert_eq!(host.set_int(listener, libc::IPPROTO_TCP, option, queue), 0);
            assert_eq!(host.get_int(listener, libc::IPPROTO_TCP, option), queue);
        }
        let answer = syn(&host, Some(&COOKIE), false).header;
        let octets = if taken { 1 + 8 } else { 1 };
        assert_eq!(answer.ack, PEER_ISS + octets, "{bits:#x}");
        assert_eq!(answer.options.fast_open, None);
    }
}

#[test]
fn where_nobody_lies_no_cookie_is_needed() {
    let (_folder, host) = host(0x602);
    let listener = host.listening();
    assert_eq!(syn(&host, None, false).header.ack, PEER_ISS + 1 + 8);
    let fd = host.accept(listener);
    assert_eq!(host.read(fd, 100), Ok(b"question".to_vec()));
}
