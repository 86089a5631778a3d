//! One ordered channel on its TCP connection, served by one thread.

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::OnceLock;

use bytes::Bytes;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::MsgFlags;
use thiserror::Error;

use super::noise::Purpose;
use super::outbox::{Outbox, Progress, Sink};
use super::record::{MOST_RECORD_PLAIN_BYTES, Opening, Sealing};
use super::refusal::Refusal;
use super::wake::{Wake, is_ready, is_writable, wait};

/// Read from the socket at a time.
const READ_BYTES: usize = 256 << 10;

/// Why a channel is no more.
#[derive(Debug, Error)]
pub(crate) enum Broken {
    #[error("the other host closed it")]
    Closed,
    #[error("{0}")]
    Io(io::Error),
    #[error("refused what arrived: {0}")]
    Refused(Refusal),
    #[error("the other host does not take what is sent")]
    Overflow,
    #[error("the other host has connected anew")]
    Superseded,
    #[error("the other channel broke")]
    Partner,
    #[error("we stop")]
    Stopped,
}

/// How a channel is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Most bytes in one record: small ones let others pass between them.
    pub(crate) record_bytes: usize,
    /// Most bytes that may wait.
    pub(crate) most_waiting_bytes: usize,
    /// Whether senders send for themselves; otherwise the channel's thread does all the work.
    pub(crate) direct: bool,
}

/// Commits: whoever sends one sends it at once.
const COMMIT: Manner = Manner {
    record_bytes: MOST_RECORD_PLAIN_BYTES,
    most_waiting_bytes: 64 << 20,
    direct: true,
};
/// Snapshots: sealed and sent by a thread of their own, in small pieces.
const BULK: Manner = Manner {
    record_bytes: 16 << 10,
    most_waiting_bytes: 256 << 20,
    direct: false,
};

/// How the channel of a purpose is run.
pub(crate) const fn manner(purpose: Purpose) -> Manner {
    match purpose {
        Purpose::Bulk => BULK,
        Purpose::Commit | Purpose::Datagrams => COMMIT,
    }
}

/// A channel whose handshake is done.
pub(crate) struct Channel {
    socket: TcpStream,
    outbox: Outbox,
    manner: Manner,
    wake: Wake,
    end: OnceLock<Broken>,
}

impl Sink for TcpStream {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        Ok(nix::sys::socket::send(self.as_raw_fd(), bytes, flags)?)
    }
}

impl Channel {
    pub(crate) fn new(socket: TcpStream, sealing: Sealing, manner: Manner) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            outbox: Outbox::new(sealing, manner.most_waiting_bytes),
            manner,
            wake: Wake::new()?,
            end: OnceLock::new(),
        })
    }

    /// Sends a message, or leaves it to the channel's thread. Never waits.
    pub(crate) fn send(&self, message: Bytes) {
        if !self.outbox.push(message) {
            self.end_with(Broken::Overflow);
        } else if self.manner.direct {
            self.send_waiting();
        } else {
            self.wake.wake();
        }
    }

    fn send_waiting(&self) {
        match self.outbox.send(&self.socket) {
            Progress::Done => {}
            Progress::Blocked => self.wake.wake(),
            Progress::Failed => self.end_with(Broken::Closed),
        }
    }

    /// Ends the channel; its thread stops soon. The first reason counts.
    pub(crate) fn end_with(&self, reason: Broken) {
        let _ = self.end.set(reason);
        self.wake.wake();
    }

    /// Why it ended, if it has.
    pub(crate) fn end(&self) -> Option<&Broken> {
        self.end.get()
    }

    /// Serves the channel until it ends: messages go to `deliver`.
    pub(crate) fn run(&self, mut opening: Opening, deliver: &dyn Fn(Bytes)) {
        let mut buffer = vec![0; READ_BYTES];
        while self.end.get().is_none() {
            if let Err(reason) = self.turn(&mut opening, &mut buffer, deliver) {
                self.end_with(reason);
            }
        }
        // Says it to the other host at once, whoever else still holds the socket.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    fn turn(
        &self,
        opening: &mut Opening,
        buffer: &mut [u8],
        deliver: &dyn Fn(Bytes),
    ) -> Result<(), Broken> {
        while let Some(message) = opening.next().map_err(Broken::Refused)? {
            deliver(message);
        }
        let mut interest = PollFlags::POLLIN;
        interest.set(PollFlags::POLLOUT, self.outbox.is_blocked());
        let mut fds = [
            PollFd::new(self.socket.as_fd(), interest),
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
        ];
        wait(&mut fds, None).map_err(Broken::Io)?;
        let [socket, wake] = &fds;
        let woken = is_ready(wake);
        if woken {
            self.wake.clear();
        }
        if is_writable(socket) {
            self.outbox.unblock();
        }
        if woken || is_writable(socket) {
            self.send_waiting();
        }
        if is_ready(socket) {
            self.receive(opening, buffer)?;
        }
        Ok(())
    }

    fn receive(&self, opening: &mut Opening, buffer: &mut [u8]) -> Result<(), Broken> {
        match (&self.socket).read(buffer) {
            Ok(0) => Err(Broken::Closed),
            Ok(length) => {
                opening.wire().extend_from_slice(&buffer[..length]);
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Err(Broken::Closed),
                _ => Err(Broken::Io(error)),
            },
        }
    }
}
