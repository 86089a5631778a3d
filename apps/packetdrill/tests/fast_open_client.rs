//! TCP Fast Open of clients (RFC 7413) through the calls: `MSG_FASTOPEN`, `TCP_FASTOPEN_CONNECT`.

#[macro_use]
mod support;

use libc::{c_int, sockaddr};
use outlive::wire::tcp::{FastOpen, Flags, Header, Options};
use support::{Host, Out, PEER_ISS, PEER_PORT, REMOTE, errno, name};

const COOKIE: [u8; 8] = *b"a cookie";
/// `TCP_FASTOPEN_CONNECT`.
const CONNECT: c_int = 30;

/// A host in a namespace with that `tcp_fastopen`, which is there as long as the folder.
fn host(bits: u32) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let ipv4 = folder.path().join("ipv4");
    std::fs::create_dir(&ipv4).unwrap();
    std::fs::write(ipv4.join("tcp_fastopen"), bits.to_string()).unwrap();
    let host = Host::with(&format!("seed=7,sysctls={}", folder.path().display()));
    (folder, host)
}

fn nonblocking(host: &Host) -> c_int {
    let fd = host.socket();
    host.set_nonblocking(fd);
    fd
}

/// `sendto` with `MSG_FASTOPEN`; the error if it fails.
fn send_fast(host: &Host, fd: c_int, bytes: &[u8]) -> Result<isize, c_int> {
    let name = name(REMOTE, PEER_PORT);
    let sent = call!(
        host,
        sendto,
        fd,
        bytes.as_ptr().cast(),
        bytes.len(),
        libc::MSG_FASTOPEN,
        (&raw const name).cast::<sockaddr>(),
        16
    );
    if sent < 0 { Err(errno()) } else { Ok(sent) }
}

/// Answers `syn` and `taken` bytes of it, with a cookie, and swallows the ACK.
fn answer(host: &Host, syn: &Out, taken: u32) {
    let syn_ack = Header {
        destination_port: syn.header.source_port,
        seq: PEER_ISS,
        ack: syn.header.seq + 1 + taken,
        flags: Flags::SYN.with(Flags::ACK),
        options: Options {
            mss: Some(1040),
            fast_open: Some(COOKIE.into_iter().collect::<FastOpen>()),
            ..Options::default()
        },
        ..Header::default()
    };
    host.inject(PEER_PORT, syn_ack, &[]);
    assert_eq!(host.next().expect("an ACK").header.ack, PEER_ISS + 1);
}

/// Has the host learn a cookie.
fn acquaint(host: &Host) {
    let fd = nonblocking(host);
    assert_eq!(send_fast(host, fd, b"early"), Err(libc::EINPROGRESS));
    let syn = host.next().unwrap();
    assert_eq!(syn.header.options.fast_open, Some(FastOpen::new()), "asked");
    assert!(syn.payload.is_empty());
    answer(host, &syn, 0);
}

fn assert_carries(syn: &Out, bytes: usize) {
    assert_eq!(syn.header.flags, Flags::SYN);
    assert_eq!(syn.header.options.fast_open.as_deref(), Some(&COOKIE[..]));
    assert_eq!(syn.payload.len(), bytes);
}

#[test]
fn what_the_syn_takes_counts_as_sent_and_one_may_be_begun_at_a_time() {
    let (_folder, host) = host(1);
    acquaint(&host);
    let fd = nonblocking(&host);
    assert_eq!(send_fast(&host, fd, &[1; 3000]), Ok(1000));
    let syn = host.next().unwrap();
    assert_carries(&syn, 1000);
    assert_eq!(send_fast(&host, fd, &[1; 3000]), Err(libc::EALREADY));
    assert_eq!((host.write(fd, b"more"), errno()), (-1, libc::EAGAIN));
    answer(&host, &syn, 1000);
    assert_eq!(host.write(fd, b"more"), 4);
    assert_eq!(host.next().unwrap().payload, b"more");
}

#[test]
fn a_connect_that_finds_a_cookie_leaves_the_syn_to_the_first_write() {
    let (_folder, host) = host(1);
    acquaint(&host);
    let fd = nonblocking(&host);
    assert_eq!(host.set_int(fd, libc::IPPROTO_TCP, CONNECT, 1), 0);
    assert_eq!(host.connect(fd), 0);
    assert!(host.next().is_none());
    assert_eq!((host.connect(fd), errno()), (-1, libc::EISCONN));
    assert_eq!(host.write(fd, b"question"), 8);
    assert_carries(&host.next().unwrap(), 8);
}

#[test]
fn a_connect_without_a_cookie_asks_for_one() {
    let (_folder, host) = host(1);
    let fd = nonblocking(&host);
    assert_eq!(host.set_int(fd, libc::IPPROTO_TCP, CONNECT, 1), 0);
    assert_eq!((host.connect(fd), errno()), (-1, libc::EINPROGRESS));
    let syn = host.next().unwrap();
    assert_eq!(syn.header.options.fast_open, Some(FastOpen::new()));
}

#[test]
fn it_has_to_be_permitted() {
    let (_folder, host) = host(0);
    let fd = nonblocking(&host);
    let not_supported = libc::EOPNOTSUPP;
    assert_eq!(send_fast(&host, fd, b"early"), Err(not_supported));
    let set = host.set_int(fd, libc::IPPROTO_TCP, CONNECT, 1);
    assert_eq!((set, errno()), (-1, not_supported));
    assert!(host.next().is_none());
}

#[test]
fn where_none_is_needed_there_is_no_cookie() {
    let (_folder, host) = host(5);
    let fd = nonblocking(&host);
    assert_eq!(send_fast(&host, fd, b"question"), Ok(8));
    let syn = host.next().unwrap();
    assert_eq!((syn.header.options.fast_open, syn.payload.len()), (None, 8));
}
