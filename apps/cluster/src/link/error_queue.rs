//! What the network says about datagrams that we sent: a host whose process has ended answers them with
//! "port unreachable" (RFC 1122 §3.2.2.1), at once. The kernel keeps such answers in a queue per socket.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};

/// Answers looked at in one go.
const MOST: usize = 16;

/// Has the kernel keep what the network says.
///
/// # Errors
/// When the kernel does not know the option.
pub(crate) fn enable(socket: &UdpSocket) -> io::Result<()> {
    match socket.local_addr()?.ip() {
        IpAddr::V4(_) => setsockopt(socket, Ipv4RecvErr, &true)?,
        IpAddr::V6(_) => setsockopt(socket, Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// Where nobody listened, by what arrived since the last call.
pub(crate) fn drain(socket: &UdpSocket) -> Vec<SocketAddr> {
    std::iter::from_fn(|| next(socket).ok())
        .take(MOST)
        .flatten()
        .collect()
}

/// The next answer: none if it is of another kind.
fn next(socket: &UdpSocket) -> nix::Result<Option<SocketAddr>> {
    let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut [], Some(&mut control), flags)?;
    let refused = message.cmsgs()?.any(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            error.ee_errno == Errno::ECONNREFUSED as u32
        }
        _ => false,
    });
    let to = message.address.and_then(|address| {
        let v4 = address
            .as_sockaddr_in()
            .map(|it| SocketAddr::from((it.ip(), it.port())));
        v4.or_else(|| {
            address
                .as_sockaddr_in6()
                .map(|it| SocketAddr::from((it.ip(), it.port())))
        })
    });
    Ok(to.filter(|_| refused))
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags};
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::super::wake::wait;
    use super::*;

    #[test]
    fn a_closed_port_is_told_from_a_silent_one() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        enable(&socket).unwrap();
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        // None that the kernel gives to a test beside.
        let closed = SocketAddr::from(([127, 0, 0, 1], 1));
        socket.send_to(b"x", silent.local_addr().unwrap()).unwrap();
        socket.send_to(b"x", closed).unwrap();
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        wait(&mut fds, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(drain(&socket), [closed]);
    }
}
