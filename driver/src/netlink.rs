//! The one request that needs rtnetlink(7): `SIOCSIFTXQLEN` asks for privilege over the whole machine,
//! `RTM_SETLINK` only over the network namespace, as an ordinary user has it inside `unshare -Urn`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::netdev::check;

/// `struct nlmsghdr`, `struct ifinfomsg`, `struct rtattr` with an integer.
const REQUEST_BYTES: u32 = 16 + 16 + 8;

/// Sets how many frames the kernel queues for interface number `link`.
pub(crate) fn set_queue_len(link: i32, frames: u32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_ROUTE,
        )
    };
    check(fd)?;
    // SAFETY: a descriptor just made, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let request = request(link, frames);
    // SAFETY: the kernel reads `request`, which outlives the call.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = [0u8; 256];
    // SAFETY: the kernel writes at most the length of `answer`.
    let n = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            answer.as_mut_ptr().cast(),
            answer.len(),
            0,
        )
    };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    // An acknowledgement is an error message with the number 0 behind the header.
    match answer[..n]
        .get(16..20)
        .map(|bytes| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}

fn request(link: i32, frames: u32) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let mut bytes = Vec::with_capacity(REQUEST_BYTES as usize);
    bytes.extend(REQUEST_BYTES.to_ne_bytes());
    bytes.extend(libc::RTM_SETLINK.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port: one question, one answer
    bytes.extend([0; 4]); // family, padding, type
    bytes.extend(link.to_ne_bytes());
    bytes.extend([0; 8]); // flags to change: none
    bytes.extend(8u16.to_ne_bytes());
    bytes.extend(libc::IFLA_TXQLEN.to_ne_bytes());
    bytes.extend(frames.to_ne_bytes());
    bytes
}
