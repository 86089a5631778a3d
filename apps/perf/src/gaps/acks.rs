//! When the peer acknowledged what was written, by the kernel's own clock: looking at a socket again and
//! again would cost a thousand connections more than they do themselves.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::socket::sockopt::Timestamping;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A note of the time for each write, once all of it is acknowledged (Documentation/networking/timestamping.rst).
fn flags() -> TimestampingFlag {
    TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY
        | TimestampingFlag::from_bits_retain(libc::SOF_TIMESTAMPING_TX_ACK)
}

/// The notes of one connection.
#[derive(Debug)]
pub(super) struct Acks {
    /// The same moment by both clocks.
    zero: (Instant, Duration),
}

impl Acks {
    /// From now on acknowledgements are noted.
    ///
    /// # Errors
    /// When the kernel cannot.
    pub(super) fn watch(stream: &TcpStream) -> io::Result<Self> {
        setsockopt(&stream.as_fd(), Timestamping, &flags())?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            zero: (Instant::now(), since_1970.unwrap_or_default()),
        })
    }

    /// When the next write that was not asked for yet had been acknowledged; none if it was not.
    pub(super) fn next(&self, stream: &TcpStream) -> Option<Instant> {
        let mut control = nix::cmsg_space!(
            [libc::timespec; 3],
            libc::sock_extended_err,
            libc::sockaddr_in6
        );
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let note = recvmsg::<()>(stream.as_raw_fd(), &mut [], Some(&mut control), flags).ok()?;
        note.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampsns(times) => {
                let at = Duration::from(times.system);
                let (here, there) = self.zero;
                Some(here + at.saturating_sub(there))
            }
            _ => None,
        })
    }
}
